//! The kernel: boots, sets its heap up, runs the cases, ends.

pub(crate) mod boot;
mod cases;
mod clock;
mod crew;
mod exit;
mod heap;
mod load;
mod logs;
mod peers;
mod random;
mod shadow;
mod table;
mod text;
