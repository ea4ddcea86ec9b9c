//! Compiles the programs under `c/`, once per content.
//!
//! Objects and executables are named after a hash of everything that went
//! into them, so a second run of the tests compiles nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::library;
use crate::run::Run;

/// How a program meets the library under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// Linked without it, run under `LD_PRELOAD`.
    Preload,
    /// Linked with `-lgranule` and an rpath.
    Dynamic,
    /// Linked with `-static` and `libgranule.a`.
    Static,
    /// Not at all: the C library's own allocator, for comparison.
    Plain,
}

/// A C or C++ source under `c/`, and how to compile it.
#[derive(Clone, Debug)]
pub struct Source {
    file: &'static str,
    flags: Vec<OsString>,
    libraries: Vec<PathBuf>,
}

/// An executable and the way it is to be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    linkage: Linkage,
}

/// Flags of every compilation. The optimiser may not remove or know the
/// allocations: they are what is tested.
const FLAGS: &[&str] = &[
    "-O1",
    "-g",
    "-pthread",
    "-fno-builtin",
    "-fno-allocation-dce",
    "-Wall",
    "-Wextra",
    "-Werror",
];

impl Source {
    /// The source `c/<file>`; the suffix `.cpp` means C++.
    pub fn new(file: &'static str) -> Self {
        Self { file, flags: Vec::new(), libraries: Vec::new() }
    }

    /// Adds a compiler flag.
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Links with a shared library, found again at run time by its folder.
    pub fn library(mut self, path: &Path) -> Self {
        self.libraries.push(path.to_owned());
        self
    }

    /// Builds an executable.
    pub fn program(&self, linkage: Linkage) -> Result<Program> {
        let object = self.object(&[])?;
        let mut args = vec!["-pthread".into(), object.into_os_string()];
        for library in &self.libraries {
            args.extend(link_with(library)?);
            args.push(rpath(library));
        }
        let mut print = 0;
        match linkage {
            Linkage::Plain | Linkage::Preload => {}
            Linkage::Dynamic => {
                let shared = library::shared()?;
                args.extend(link_with(&shared)?);
                args.push(rpath(&shared));
            }
            Linkage::Static => {
                let archive = library::archive()?;
                print = library::fingerprint(&archive)?;
                args.push("-static".into());
                // As the README says for static C++ programs; C programs find
                // no such symbol and need none.
                if self.is_cxx() {
                    args.push("-Wl,-u,_ZSt17__throw_bad_allocv".into());
                }
                args.extend(link_with(&archive)?);
            }
        }
        let tag = format!("{linkage:?}").to_lowercase();
        let path = self.cached(&tag, "", print, &args)?;
        Ok(Program { path, linkage })
    }

    /// Builds a shared library, which takes the allocator its program has.
    pub fn plugin(&self) -> Result<PathBuf> {
        let object = self.object(&["-fPIC"])?;
        let args = ["-shared".into(), "-pthread".into(), object.into_os_string()];
        self.cached("plugin", ".so", 0, &args)
    }

    fn object(&self, extra: &[&str]) -> Result<PathBuf> {
        let dir = library::package_dir().join("c");
        let standard = if self.is_cxx() { "-std=gnu++17" } else { "-std=gnu11" };
        let mut args: Vec<OsString> = vec!["-c".into()];
        if !self.flags.iter().any(|flag| flag.to_string_lossy().starts_with("-std=")) {
            args.push(standard.into());
        }
        args.extend(FLAGS.iter().chain(extra).map(OsString::from));
        args.extend(self.flags.iter().cloned());
        args.push("-I".into());
        args.push(library::include_dir().into_os_string());
        args.push(dir.join(self.file).into_os_string());
        let print = contents(&[dir, library::include_dir()], self.file)?;
        self.cached("object", ".o", print, &args)
    }

    fn is_cxx(&self) -> bool {
        self.file.ends_with(".cpp")
    }

    /// Runs the compiler unless its output is there already.
    fn cached(&self, tag: &str, suffix: &str, print: u64, args: &[OsString]) -> Result<PathBuf> {
        let compiler = if self.is_cxx() { "c++" } else { "cc" };
        let mut hasher = DefaultHasher::new();
        (compiler, args, print).hash(&mut hasher);
        let prefix = format!("{}-{tag}-", self.file.replace('.', "_"));
        let dir = library::scratch_dir()?;
        let name = format!("{prefix}{:016x}", hasher.finish());
        let output = dir.join(format!("{name}{suffix}"));
        once(&output, || {
            if output.is_file() {
                return Ok(());
            }
            sweep(&dir, &prefix);
            // The rename makes a half-written file impossible to find.
            let partial = dir.join(format!("{name}-{}.partial", std::process::id()));
            let result = Command::new(compiler).args(args).arg("-o").arg(&partial).output();
            let result = result.with_context(|| format!("start {compiler}"))?;
            ensure!(
                result.status.success(),
                "{compiler} {args:?} failed:\n{}",
                String::from_utf8_lossy(&result.stderr)
            );
            std::fs::rename(&partial, &output).with_context(|| output.display().to_string())
        })?;
        Ok(output)
    }
}

impl Program {
    /// A run of the program, in the way it was linked.
    pub fn run(&self) -> Result<Run> {
        let run = Run::new(&self.path);
        Ok(match self.linkage {
            Linkage::Preload => run.preload(library::shared()?),
            _ => run,
        })
    }
}

/// `-L<folder> -l<name>`: the way a user of the library writes it.
fn link_with(path: &Path) -> Result<[OsString; 2]> {
    let name = path.file_name().and_then(|name| name.to_str()).context("library name")?;
    let mut folder = OsString::from("-L");
    folder.push(path.parent().context("library folder")?);
    let plain = name
        .strip_prefix("lib")
        .and_then(|rest| rest.strip_suffix(".so").or_else(|| rest.strip_suffix(".a")));
    Ok([folder, plain.map_or(format!("-l:{name}"), |stem| format!("-l{stem}")).into()])
}

fn rpath(library: &Path) -> OsString {
    let mut flag = OsString::from("-Wl,-rpath,");
    flag.push(library.parent().unwrap_or(Path::new("/")));
    flag
}

/// A hash of the source and of every header it could include.
fn contents(dirs: &[PathBuf], file: &str) -> Result<u64> {
    let mut files = vec![dirs[0].join(file)];
    for dir in dirs {
        for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == "h") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for path in files {
        std::fs::read(&path).with_context(|| path.display().to_string())?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Runs `make` once per output and process; concurrent callers wait for it.
fn once(output: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    type Outcome = Arc<OnceLock<Result<(), String>>>;
    static OUTPUTS: OnceLock<Mutex<HashMap<PathBuf, Outcome>>> = OnceLock::new();
    let outputs = OUTPUTS.get_or_init(Mutex::default);
    let cell = {
        let mut outputs = outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.entry(output.to_owned()).or_default().clone()
    };
    cell.get_or_init(|| make().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!("{error}"))
}

/// Removes outputs of earlier contents. Younger ones may belong to a test
/// run beside this one; a failure to remove costs only space.
fn sweep(dir: &Path, prefix: &str) {
    let stale = |path: &Path| {
        let changed = path.metadata().and_then(|meta| meta.modified()).ok()?;
        changed.elapsed().ok().filter(|age| *age > Duration::from_secs(3600))
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) && stale(&entry.path()).is_some()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
