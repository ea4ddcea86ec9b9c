//! Cargo compiling a small crate: a multi-threaded Rust program and all it
//! starts. (rustc brings an allocator of its own, which a preload does not
//! displace; cargo, the linker and the built program run on the preload.)

use super::{Judge, Observed, Program, Stage};
use crate::process::Job;
use crate::tools;
use anyhow::Result;
use std::time::Duration;

/// Building, testing nothing, running the result.
pub(crate) const CARGO: Program = Program {
    name: "cargo",
    about: "a crate of four compiled, linked and run",
    needs: &[],
    proof: ("cargo", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(300),
    run,
};

/// The crates of the generated workspace; the first uses the others.
const CRATES: [&str; 4] = ["front", "words", "trees", "threads"];

fn run(stage: &Stage<'_>) -> Result<Observed> {
    generate(stage)?;
    let target = stage.dir.join("target");
    let job = Job::new(tools::cargo()?).cwd(stage.dir).timeout(Duration::from_secs(300));
    let job = job.args(["build", "--quiet", "--offline", "--jobs", "2"]);
    // Our own flags and folders are not this crate's.
    let job = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"]
        .into_iter()
        .fold(job, Job::env_remove)
        .env("CARGO_TARGET_DIR", &target);
    let built = stage.under.apply(job).run_ok()?;
    let ran = stage.under.apply(Job::new(target.join("debug/front"))).run_ok()?;
    let cost = built.cost.then(ran.cost);
    Ok(Observed { cost, output: vec![("what the program prints", ran.stdout)] })
}

/// Writes the workspace.
fn generate(stage: &Stage<'_>) -> Result<()> {
    let members: Vec<String> = CRATES.iter().map(|name| format!("{name:?}")).collect();
    let root = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "));
    stage.write("Cargo.toml", root)?;
    for name in CRATES {
        let mut manifest =
            format!("[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        if name == "front" {
            manifest.push_str("[dependencies]\n");
            for other in &CRATES[1..] {
                manifest.push_str(&format!("{other} = {{ path = \"../{other}\" }}\n"));
            }
        }
        stage.write(&format!("{name}/Cargo.toml"), manifest)?;
    }
    stage.write("front/src/main.rs", include_str!("scripts/crate_front.rs"))?;
    stage.write("words/src/lib.rs", include_str!("scripts/crate_words.rs"))?;
    stage.write("trees/src/lib.rs", include_str!("scripts/crate_trees.rs"))?;
    stage.write("threads/src/lib.rs", include_str!("scripts/crate_threads.rs"))?;
    Ok(())
}
