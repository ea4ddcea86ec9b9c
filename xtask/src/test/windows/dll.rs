//! `granule.dll`, and C programs that call it by its import library.

use super::wine::Wine;
use super::{LIMIT, TRIPLE};
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The programs, in `host-tests/c`: one that knows Linux, too, and one of
/// Windows's own.
const PROGRAMS: [&str; 2] = ["abi_malloc.c", "windows/dll.c"];

/// As the host's tests compile them: the optimiser may not know what `malloc`
/// is.
const FLAGS: [&str; 7] = [
    "-std=gnu11",
    "-D__USE_MINGW_ANSI_STDIO=1",
    "-fno-builtin",
    "-fno-allocation-dce",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// Time for one case.
const CASE: Duration = Duration::from_secs(120);

/// How often a process ends with threads in the heap, of which nine in ten found a
/// lock taken for good, and the time for each.
const ENDINGS: usize = 4;
const ENDING: Duration = Duration::from_secs(60);

/// Builds the library and the programs, and runs every case.
pub(super) fn run(wine: &Wine) -> Result<()> {
    let args = ["build", "--release", "--target", TRIPLE, "--package", "granule-malloc"];
    let build = wine.for_cargo(workspace::cargo(args)?).timeout(LIMIT);
    if !build.stream()?.success() {
        bail!("granule.dll does not build");
    }
    let built = workspace::target().join(TRIPLE).join("release");
    let import = built.join("libgranule.dll.a");
    tools::require_file(&import, "the build made no import library")?;
    let library = wine.folder().join("granule.dll");
    std::fs::copy(built.join("granule.dll"), &library)
        .with_context(|| format!("the build made no library {}", library.display()))?;
    let mut failed = Vec::new();
    for source in PROGRAMS {
        cases(wine, source, &import, &mut failed)?;
    }
    ends(wine, &import, &mut failed)?;
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// Runs a program that ends while its threads are in the heap, a few times, and notes
/// if it does not end. It may as the system ends those that wait for what is gone.
fn ends(wine: &Wine, import: &Path, failed: &mut Vec<String>) -> Result<()> {
    let c = workspace::root().join("host-tests/c/windows");
    let header = workspace::root().join("platform/malloc/include");
    let args = |source: &str, further: &[&Path]| {
        let mut args: Vec<OsString> = FLAGS.map(OsString::from).to_vec();
        args.extend(["-I".into(), header.clone().into(), c.join(source).into()]);
        args.extend(further.iter().map(|path| path.as_os_str().to_owned()));
        args
    };
    let library = [args("late.c", &[import]), vec!["-shared".into()]].concat();
    let library = wine.compile("late.dll", library, "")?;
    let program = wine.compile("ends.exe", args("ends.c", &[&library, import]), "")?;
    for _ in 0..ENDINGS {
        if let Err(hung) = wine.job(&program).timeout(ENDING).run() {
            failed.push(format!("a process that ends with threads in the heap: {hung:#}"));
            break;
        }
    }
    println!("a process ends with threads in the heap, {ENDINGS} times ... tried");
    Ok(())
}

/// Runs all cases of a program, each in a process of its own, and notes those
/// that fail.
fn cases(wine: &Wine, source: &str, import: &Path, failed: &mut Vec<String>) -> Result<()> {
    let c = workspace::root().join("host-tests/c");
    let header = workspace::root().join("platform/malloc/include");
    let include = [c.join("windows"), c.clone(), header];
    let mut args: Vec<OsString> = FLAGS.map(OsString::from).to_vec();
    args.extend(include.into_iter().flat_map(|folder| ["-I".into(), folder.into_os_string()]));
    args.extend([c.join(source).into_os_string(), import.into(), "-lpsapi".into()]);
    let name = Path::new(source).with_extension("exe");
    let name = name.file_name().and_then(|name| name.to_str()).context("a file name")?;
    let program = wine.compile(name, args, "")?;
    let list = wine.job(&program).arg("--list").run_ok()?.text();
    let mut count = 0;
    for case in list.lines().map(str::trim).filter(|case| !case.is_empty()) {
        count += 1;
        let done = wine.job(&program).arg(case).timeout(CASE).run()?;
        let verdict = if done.status.success() { "ok" } else { "FAILED" };
        println!("{case} ... {verdict}");
        if !done.status.success() {
            failed.push(format!("{source}, {case}: {}\n{}", done.status, done.tail()));
        }
    }
    if count == 0 {
        bail!("{source} lists no case");
    }
    Ok(())
}
