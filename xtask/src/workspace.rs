//! This workspace: its root, its cargo, and the library under test.

use crate::process::Job;
use crate::tools;
use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// Overrides the library under test, to try another build or another allocator.
const LIBRARY_VARIABLE: &str = "GRANULE_LIB";

/// A build from nothing on a slow machine must fit; a hung one must end.
pub(crate) const BUILD_TIMEOUT: Duration = Duration::from_secs(1800);

/// The root folder of the workspace: of the clone that cargo runs us from, which need not
/// be the one that we were built in where several share a target folder.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        let run = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let run = run.filter(|run| run.file_name() == built.file_name());
        run.as_deref().unwrap_or(built).parent().expect("xtask lies inside the workspace").into()
    });
    &ROOT
}

/// The oldest compiler the workspace promises to build with.
pub(crate) fn oldest_rust() -> &'static str {
    env!("CARGO_PKG_RUST_VERSION")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A cargo command in the root of this workspace.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Result<Job> {
    Ok(Job::new(tools::cargo()?).args(args).cwd(root()).timeout(BUILD_TIMEOUT))
}

/// Builds `package` in release mode, silent unless there is something to build.
pub(crate) fn build_release(package: &str) -> Result<()> {
    let status = cargo(["build", "--release", "--package", package])?.stream()?;
    if !status.success() {
        bail!("`cargo build --release --package {package}` failed ({status})");
    }
    Ok(())
}

/// The path of `libgranule.so`, built first; or what `GRANULE_LIB` names.
pub(crate) fn library_under_test() -> Result<PathBuf> {
    if let Some(library) = env::var_os(LIBRARY_VARIABLE) {
        let library = PathBuf::from(library);
        tools::require_file(&library, LIBRARY_VARIABLE)?;
        // Or a table would call another library by our name.
        eprintln!("note: {LIBRARY_VARIABLE} is set, \"granule\" is {}", library.display());
        return library.canonicalize().with_context(|| format!("{}", library.display()));
    }
    build_release("granule-malloc")?;
    let library = target().join("release/libgranule.so");
    tools::require_file(&library, "the build made no shared library")?;
    Ok(library)
}
