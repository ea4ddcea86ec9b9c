//! The library under test: `libgranule.so` and `libgranule.a`.
//!
//! `GRANULE_LIB` and `GRANULE_ARCHIVE` name other files, which is how the
//! programs themselves are validated: against the C library's own allocator
//! (an empty shared object) or against another allocator.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The shared library: the one to preload or to link with.
pub fn shared() -> Result<PathBuf> {
    named_or_built("GRANULE_LIB", |built| &built.shared)
}

/// The archive, for full static linking.
pub fn archive() -> Result<PathBuf> {
    named_or_built("GRANULE_ARCHIVE", |built| &built.archive)
}

/// The package's root: `host-tests/`.
pub fn package_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the public C header.
pub fn include_dir() -> PathBuf {
    package_dir().with_file_name("platform").join("malloc/include")
}

/// A folder for compiled programs, inside the target directory.
pub fn scratch_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("path of the test binary")?;
    let target = exe
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .with_context(|| format!("no target directory above {}", exe.display()))?;
    let dir = target.join("host-tests");
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// A number that changes when the file does: path, length and time of change.
pub fn fingerprint(path: &Path) -> Result<u64> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let mut hasher = DefaultHasher::new();
    (path, meta.len(), meta.modified()?).hash(&mut hasher);
    Ok(hasher.finish())
}

struct Built {
    shared: PathBuf,
    archive: PathBuf,
}

fn named_or_built(variable: &str, pick: fn(&Built) -> &PathBuf) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return std::fs::canonicalize(&named).with_context(|| format!("{variable}={named:?}"));
    }
    static BUILT: OnceLock<Result<Built, String>> = OnceLock::new();
    match BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(built) => Ok(pick(built).clone()),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// Builds the C library and reads from cargo's messages where its files are.
fn build() -> Result<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(package_dir())
        .args(["build", "--release", "-p", "granule-malloc", "--message-format=json"])
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("building granule-malloc failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let messages = String::from_utf8(output.stdout).context("cargo's messages")?;
    // Every file name is a JSON string of its own, so quotes delimit it.
    let find = |name: &str| {
        messages
            .split('"')
            .find(|text| text.ends_with(name))
            .map(PathBuf::from)
            .with_context(|| format!("cargo reported no {name}"))
    };
    Ok(Built { shared: find("/libgranule.so")?, archive: find("/libgranule.a")? })
}
