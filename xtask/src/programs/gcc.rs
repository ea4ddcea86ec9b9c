//! GCC compiling some thousands of generated lines.

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::time::Duration;

/// The compiler proper, the assembler and, in tests, the linker.
pub(crate) const GCC: Program = Program {
    name: "gcc",
    about: "thousands of generated lines of C to an object",
    needs: &[setup::GCC],
    proof: ("gcc", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(180),
    run,
};

fn run(stage: &Stage<'_>) -> Result<Observed> {
    stage.write("sums.c", source(stage.scaled(160, 800)))?;
    let compile = stage.job("gcc")?.args(["-O2", "-c", "sums.c", "-o", "sums.o"]).run_ok()?;
    let object = std::fs::read(stage.dir.join("sums.o")).context("no object was written")?;
    let mut seen = Observed { cost: compile.cost, output: vec![("the object file", object)] };
    // Linked and run as well: a compiler that fails alike on both would pass.
    let link = stage.job("gcc")?.args(["sums.o", "-o", "sums"]).run_ok()?;
    let run = stage.under.apply(crate::process::Job::new(stage.dir.join("sums"))).run_ok()?;
    seen.cost = seen.cost.then(link.cost).then(run.cost);
    seen.output.push(("what the program prints", run.stdout));
    Ok(seen)
}

/// A program of `functions` functions, each about fifteen lines.
fn source(functions: usize) -> String {
    let mut text = String::from(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
         struct item { long key; double weight; char name[24]; };\n",
    );
    for at in 0..functions {
        let (odd, size) = (at * 2 + 1, at % 13 + 3);
        write!(
            text,
            "static long step{at}(struct item *items, long count) {{\n\
             \tlong sum = {at};\n\
             \tfor (long i = 0; i < count; i++) {{\n\
             \t\titems[i].key = items[i].key * {odd} + (i ^ {size});\n\
             \t\titems[i].weight += items[i].key % {size} * 0.5;\n\
             \t\tswitch (items[i].key & 7) {{\n\
             \t\tcase 0: sum += items[i].key >> 3; break;\n\
             \t\tcase 1: case 2: sum ^= (long)items[i].weight; break;\n\
             \t\tcase 5: snprintf(items[i].name, sizeof items[i].name, \"n%ld\", sum); break;\n\
             \t\tdefault: sum += (long)strlen(items[i].name) * {odd};\n\
             \t\t}}\n\
             \t}}\n\
             \treturn sum;\n\
             }}\n"
        )
        .expect("a String takes everything");
    }
    text.push_str("int main(void) {\n\tlong sum = 0;\n");
    text.push_str("\tstruct item *items = calloc(64, sizeof *items);\n\tif (!items) return 1;\n");
    for at in 0..functions {
        writeln!(text, "\tsum = sum * 31 + step{at}(items, 64);").expect("a String takes it");
    }
    text.push_str("\tprintf(\"%ld\\n\", sum);\n\tfree(items);\n\treturn 0;\n}\n");
    text
}
