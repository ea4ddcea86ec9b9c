//! The kernel: boots, sets its heap up, runs the cases, ends.

mod boot;
mod case;
mod cases;
mod clock;
mod crew;
mod exit;
mod heap;
mod load;
mod logs;
mod memory;
mod peers;
mod random;
mod shadow;
mod table;
mod text;
