//! `GRANULE_SAMPLE` in a Rust program whose global allocator is granule: this one,
//! started again for each mistake.
#![cfg(target_os = "linux")]

use std::alloc::{Layout, alloc, dealloc};
use std::env;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use granule::heap::{Owner, owner_of};

#[global_allocator]
static GLOBAL: granule::Granule = granule::Granule::new();

/// Says which mistake to make.
const MISTAKE: &str = "GRANULE_TEST_MISTAKE";

/// Sampled are sizes above 1 KiB, up to 16 KiB.
const SIZE: usize = 3001;

/// So many miss, and so are sampled, at least once.
const BLOCKS: usize = 64;

fn layout() -> Layout {
    Layout::from_size_align(SIZE, 1).expect("a layout")
}

/// Where in its pages a block lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

/// A sampled block: no object of a class lies there. Its address is printed.
fn sampled(side: Side) -> *mut u8 {
    // SAFETY: the size is not 0.
    let mut blocks = (0..BLOCKS).map(|_| unsafe { alloc(layout()) });
    let block = blocks.find(|block| {
        let first = block.addr() % 4096 < 64;
        !block.addr().is_multiple_of(64) && first == (side == Side::First)
    });
    let block = block.expect("a sampled block");
    println!("{block:p}");
    block
}

fn make(mistake: &str) {
    let side = if mistake == "underflow" { Side::First } else { Side::Last };
    let block = black_box(sampled(side));
    assert_eq!(owner_of(block), Some(Owner::Process));
    // SAFETY: none: the mistake under test.
    unsafe {
        match mistake {
            "overflow" => block.add(SIZE + 48).write_volatile(1),
            "underflow" => block.sub(32).write_volatile(1),
            "use after free" => {
                dealloc(block, layout());
                black_box(block.read_volatile());
            }
            "double free" => {
                dealloc(block, layout());
                dealloc(block, layout());
            }
            "written behind" => {
                block.add(SIZE).write_volatile(1);
                dealloc(block, layout());
            }
            _ => dealloc(block, layout()),
        }
    }
}

/// What the child does; nothing where there is none.
#[test]
fn mistake() {
    if let Ok(mistake) = env::var(MISTAKE) {
        make(&mistake);
    }
}

fn child(mistake: &str) -> Result<Output> {
    let mut child = Command::new(env::current_exe()?);
    child.args(["--exact", "mistake", "--nocapture", "--test-threads=1"]);
    child.env(MISTAKE, mistake).env("GRANULE_SAMPLE", "1,4096");
    child.output().context("the child")
}

/// The mistake is reported, of the block that was printed, with these pieces.
fn is_reported(mistake: &str, pieces: &[&str]) -> Result<()> {
    let child = child(mistake)?;
    let (said, report) = (String::from_utf8(child.stdout)?, String::from_utf8(child.stderr)?);
    ensure!(child.status.signal() == Some(libc::SIGABRT), "{:?}: {report}", child.status);
    let block = said.lines().find_map(|line| line.find("0x").map(|at| &line[at..]));
    let block = block.context("no block")?;
    ensure!(report.contains(&format!("granule: {block}: ")), "not of {block}: {report}");
    let size = format!("(a block of {SIZE} bytes)");
    for piece in pieces.iter().copied().chain([&*size, "allocated by thread "]) {
        ensure!(report.contains(piece), "no {piece:?} in {report}");
    }
    let advice = report.lines().filter(|line| line.starts_with("granule: "));
    ensure!(advice.count() >= 2, "what to do next is missing: {report}");
    Ok(())
}

#[test]
fn accesses_around_a_block_fault() -> Result<()> {
    is_reported("overflow", &["access past its end at 0x"])?;
    is_reported("underflow", &["access before its start at 0x"])
}

#[test]
fn a_use_after_free_faults() -> Result<()> {
    is_reported("use after free", &["use after free at 0x", "freed by thread "])
}

#[test]
fn mistakes_are_found_when_a_block_is_freed() -> Result<()> {
    is_reported("double free", &["double free", "freed by thread "])?;
    is_reported("written behind", &["written past its end"])
}

#[test]
fn a_correct_program_does_not_notice() -> Result<()> {
    let child = child("none")?;
    ensure!(child.status.success(), "{child:?}");
    Ok(())
}
