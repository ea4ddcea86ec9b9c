//! The peers: who they are, where they come from, and what of them is here.
//!
//! ```text
//! Debian's library ─────────────────────────────┐
//! a crate's bundled sources ─ cc ─ a library ───┴─ proved to serve ─ measured
//! ```
//! All are preloaded under the same binaries: every one serves `malloc` through
//! the same door, ours too. The other door is Rust's, in [`super::rust_door`].
//! What cannot be had is skipped and named.

use super::samples::Failure;
use crate::allocator::{Allocator, Preload};
use crate::process::Job;
use crate::setup::{self, Need};
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// An allocator that takes part.
pub(super) struct Contender {
    /// Its name in tables.
    pub(super) name: &'static str,
    /// Which version, and from where.
    pub(super) origin: String,
    /// How to run on it.
    pub(super) preload: Preload,
    /// The patterns program to run.
    pub(super) program: PathBuf,
}

/// One that does not.
pub(super) struct Absent {
    /// Its name.
    pub(super) name: &'static str,
    /// The reason, in one line.
    pub(super) why: String,
}

impl Absent {
    /// Says at once that it is skipped.
    pub(super) fn new(name: &'static str, error: &anyhow::Error) -> Absent {
        let why = Failure::new(error).0;
        eprintln!("skipped: {name}: {why}");
        Absent { name, why }
    }
}

/// Where a peer comes from.
enum Source {
    /// A library of Debian's: the file, and what brings it.
    Debian(&'static str, Need),
    /// Built of what a crate brings.
    Crate(Recipe),
}

/// How to build a library of a crate's sources.
#[derive(Hash)]
struct Recipe {
    /// The crate.
    package: &'static str,
    /// Its folder of sources.
    folder: &'static str,
    /// The one file to compile, in that folder.
    file: &'static str,
    /// Where its headers are, in that folder.
    headers: &'static str,
    /// The compiler.
    compiler: &'static str,
    /// What its own build would say.
    flags: &'static [&'static str],
}

/// Our name in tables.
pub(super) const OURS: &str = "granule";

/// Granule with its presets, as it is called in tables: not peers of its own.
const PRESETS: [(&str, &str); 2] =
    [("granule frugal", "frugal"), ("granule throughput", "throughput")];

/// Granule with its tiers of checks but the default one, and with sampled guard
/// pages, as they are called in tables.
const TIERS: [(&str, &str, &str); 3] = [
    ("granule moderate", "GRANULE_CHECK", "moderate"),
    ("granule full", "GRANULE_CHECK", "full"),
    ("granule sampled", "GRANULE_SAMPLE", "on"),
];

/// The tier that the others are measured against: a peer, where there are tiers.
const NO_TIER: (&str, &str, &str) = ("none", "GRANULE_CHECK", "none");

/// Whether a name in tables is ours, with whatever preset or tier.
pub(super) fn is_ours(name: &str) -> bool {
    name == OURS
        || PRESETS.iter().any(|(preset, _)| *preset == name)
        || TIERS.iter().any(|(tier, ..)| *tier == name)
}

/// Ours alone, in the default tier; then in none, and in each other tier.
pub(super) fn tiers(program: &Path) -> Result<Vec<Contender>> {
    let preload = Allocator::Granule.ready()?;
    let with = |&(name, variable, value): &(&'static str, &'static str, &'static str)| Contender {
        name,
        origin: format!("this workspace with {variable}={value}"),
        preload: preload.with_setting(variable, value),
        program: program.into(),
    };
    let origin = "this workspace, in the tier basic".to_owned();
    let ours = Contender { name: OURS, origin, preload: preload.clone(), program: program.into() };
    let contenders: Vec<_> =
        core::iter::once(ours).chain([&NO_TIER].map(with)).chain(TIERS.iter().map(with)).collect();
    for contender in &contenders {
        contender.preload.prove(program, "list")?;
    }
    Ok(contenders)
}

/// Ours once more with each preset but the balanced one, which is in force
/// where nothing is said.
pub(super) fn presets(ours: &Contender) -> Vec<Contender> {
    let with = |&(name, preset): &(&'static str, &'static str)| Contender {
        name,
        origin: format!("the same with GRANULE_PRESET={preset}"),
        preload: ours.preload.with_setting("GRANULE_PRESET", preset),
        program: ours.program.clone(),
    };
    PRESETS.iter().map(with).collect()
}

/// Said to all, as their own release builds do.
const FLAGS: [&str; 8] = [
    "-shared",
    "-fPIC",
    "-O3",
    "-DNDEBUG",
    "-pthread",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    "-w",
];

/// What compiles the recipes.
const COMPILERS: [Need; 2] =
    [Need::program("gcc", &["gcc", "libc6-dev"]), Need::program("g++", &["g++"])];

/// mimalloc's sources, either line.
const fn mimalloc(folder: &'static str) -> Source {
    Source::Crate(Recipe {
        package: "libmimalloc-sys",
        folder,
        file: "src/static.c",
        headers: "include",
        compiler: "gcc",
        flags: &[
            "-DMI_MALLOC_OVERRIDE",
            "-DMI_SHARED_LIB",
            "-DMI_SHARED_LIB_EXPORT",
            "-fno-builtin-malloc",
        ],
    })
}

/// All peers but glibc, which is always there.
const PEERS: [(&str, Source); 7] = [
    ("mimalloc2", mimalloc("c_src/mimalloc/v2")),
    ("mimalloc3", mimalloc("c_src/mimalloc/v3")),
    (
        "snmalloc",
        Source::Crate(Recipe {
            package: "snmalloc-sys",
            folder: "upstream/src",
            // Its "minimal" library: no operators, hence no C++ library.
            file: "snmalloc/override/malloc.cc",
            headers: ".",
            // Compiles C++ too, and links no C++ library.
            compiler: "gcc",
            flags: &[
                "-std=c++20",
                "-mcx16",
                "-fno-exceptions",
                "-fno-rtti",
                "-DSNMALLOC_EXPORT=__attribute__((visibility(\"default\")))",
                "-fomit-frame-pointer",
                "-DSNMALLOC_USE_CXX11_THREAD_ATEXIT_DIRECT",
                "-DSNMALLOC_USE_WAIT_ON_ADDRESS=1",
                "-DSNMALLOC_NO_REALLOCARRAY",
                "-DSNMALLOC_NO_REALLOCARR",
            ],
        }),
    ),
    (
        "jemalloc",
        Source::Debian("libjemalloc.so.2", Need::library("libjemalloc.so.2", &["libjemalloc2"])),
    ),
    (
        "rpmalloc",
        Source::Crate(Recipe {
            package: "rpmalloc-sys",
            folder: "rpmalloc/rpmalloc",
            file: "rpmalloc.c",
            headers: ".",
            compiler: "gcc",
            flags: &["-D_GNU_SOURCE", "-DENABLE_PRELOAD=1", "-DENABLE_OVERRIDE=1"],
        }),
    ),
    (
        "tcmalloc",
        Source::Debian(
            "libtcmalloc_minimal.so.4",
            Need::library("libtcmalloc_minimal.so.4", &["libtcmalloc-minimal4"]),
        ),
    ),
    (
        "tbbmalloc",
        Source::Debian(
            "libtbbmalloc_proxy.so.2",
            Need::library("libtbbmalloc_proxy.so.2", &["libtbbmalloc2"]),
        ),
    ),
];

/// What the peers need of the system.
pub(super) fn needs() -> impl Iterator<Item = &'static Need> {
    const { &PEERS }
        .iter()
        .filter_map(|(_, source)| match source {
            Source::Debian(_, need) => Some(need),
            Source::Crate(_) => None,
        })
        .chain(const { &COMPILERS })
}

/// Everybody: granule first, then glibc, then the peers that can be had.
///
/// All run the same `program`, which is linked to none of them.
pub(super) fn assemble(program: &Path) -> Result<(Vec<Contender>, Vec<Absent>)> {
    let runs = |name, origin, preload| Contender { name, origin, preload, program: program.into() };
    let mut here = vec![
        runs(OURS, "this workspace, or GRANULE_LIB".to_owned(), Allocator::Granule.ready()?),
        runs("glibc", "the C library".to_owned(), Allocator::Glibc.ready()?),
    ];
    let mut absent = Vec::new();
    for (name, source) in &PEERS {
        match source.ready(name) {
            Ok((preload, origin)) => here.push(runs(name, origin, preload)),
            Err(error) => absent.push(Absent::new(name, &error)),
        }
    }
    for contender in &here {
        contender.preload.prove(program, "list")?;
    }
    Ok((here, absent))
}

/// An allocator that whoever measures brings along.
#[derive(Clone)]
pub(super) struct Guest {
    name: &'static str,
    library: PathBuf,
}

impl Guest {
    /// Reads `NAME=LIBRARY`.
    pub(super) fn parse(text: &str) -> Result<Guest> {
        let (name, library) = text.split_once('=').context("expected NAME=LIBRARY")?;
        let library = Path::new(library).canonicalize().with_context(|| library.to_owned())?;
        // Names live as long as the program: there are as many as arguments.
        Ok(Guest { name: name.to_owned().leak(), library })
    }

    /// Proves that it serves `program`.
    pub(super) fn ready(&self, program: &Path) -> Result<Contender> {
        let preload = Preload::proven(Some(self.library.clone()))?;
        preload.prove(program, "list")?;
        let origin = self.library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Contender { name: self.name, origin, preload, program: program.into() })
    }
}

impl Source {
    fn ready(&self, name: &str) -> Result<(Preload, String)> {
        let (library, origin) = match self {
            Source::Debian(file, need) => {
                setup::ensure(&[need])?;
                let library = tools::find_library(file).context("it is not there")?;
                let version = library.canonicalize()?;
                let version = version.file_name().unwrap_or_default().to_string_lossy();
                (library, format!("Debian, {version}"))
            }
            Source::Crate(recipe) => recipe.build(name)?,
        };
        Ok((Preload::proven(Some(library))?, origin))
    }
}

impl Recipe {
    /// Builds the library, unless it is there; tells where it is and what it is.
    fn build(&self, name: &str) -> Result<(PathBuf, String)> {
        setup::ensure(&COMPILERS.iter().collect::<Vec<_>>())?;
        let (folder, version) = sources(self.package)?;
        let origin = format!("crate {} {version}", self.package);
        let mut hasher = DefaultHasher::new();
        (self, FLAGS, &version).hash(&mut hasher);
        let peers = workspace::target().join("peers");
        std::fs::create_dir_all(&peers)?;
        let library = peers.join(format!("lib{name}-{:016x}.so", hasher.finish()));
        if !library.is_file() {
            eprintln!("building {name} of {origin}");
            self.compile(&folder.join(self.folder), &library)?;
        }
        Ok((library, origin))
    }

    fn compile(&self, folder: &Path, library: &Path) -> Result<()> {
        // Renamed when it is whole: an interrupted build leaves no library.
        let unfinished = library.with_extension("unfinished");
        let job = Job::new(tools::require(self.compiler)?).args(FLAGS).args(self.flags);
        let job = job.arg("-I").arg(folder.join(self.headers)).arg(folder.join(self.file));
        job.arg("-o").arg(&unfinished).timeout(workspace::BUILD_TIMEOUT).run_ok()?;
        std::fs::rename(&unfinished, library).with_context(|| format!("{}", library.display()))
    }
}

/// The folder of a crate's sources, and its version.
fn sources(package: &str) -> Result<(PathBuf, String)> {
    let asked =
        workspace::cargo(["metadata", "--format-version", "1", "--all-features"])?.run_ok()?;
    let read: serde_json::Value = serde_json::from_slice(&asked.stdout)?;
    let packages = read["packages"].as_array().context("cargo's metadata has no packages")?;
    for one in packages.iter().filter(|one| one["name"] == package) {
        let (manifest, version) = (one["manifest_path"].as_str(), one["version"].as_str());
        let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
        if let (Some(folder), Some(version)) = (folder, version) {
            return Ok((folder.to_owned(), version.to_owned()));
        }
    }
    bail!("cargo knows no crate {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_its_sources() {
        for (name, source) in &PEERS {
            let Source::Crate(recipe) = source else { continue };
            let (folder, _) = sources(recipe.package).expect("a dependency of the workspace");
            let file = folder.join(recipe.folder).join(recipe.file);
            assert!(file.is_file(), "{name} has no {}", file.display());
        }
    }
}
