//! Where a program or a shared library of the system lies.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};

/// Folders asked before `PATH`: version managers put shims (shell scripts)
/// first in `PATH`, and a shim is not the program we mean to preload under.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// The path of the program `name`, the system's own before any in `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    SYSTEM_FOLDERS
        .iter()
        .map(PathBuf::from)
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Like [`find`], with an error that names the program.
pub(crate) fn require(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("`{name}` is not installed; `cargo xtask setup` helps"))
}

/// The cargo that runs us, not the rustup proxy: the proxy would be one more
/// process under the preload, and it picks a toolchain by the folder.
pub(crate) fn cargo() -> Result<PathBuf> {
    match env::var_os("CARGO") {
        Some(cargo) => Ok(PathBuf::from(cargo)),
        None => require("cargo"),
    }
}

/// Folders that hold shared libraries: the multiarch one first, as on Debian.
fn library_folders() -> Vec<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    vec![multiarch.into(), "/usr/lib64".into(), "/usr/lib".into()]
}

/// The path of the shared library with the file name `name`.
pub(crate) fn find_library(name: &str) -> Option<PathBuf> {
    library_folders().into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Fails when `path` is no file, naming what it was wanted for.
pub(crate) fn require_file(path: &Path, what: &str) -> Result<()> {
    if !path.is_file() {
        bail!("{what}: there is no file {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_programs_win_over_path() {
        let shell = find("sh").expect("every system has a shell");
        assert!(SYSTEM_FOLDERS.iter().any(|folder| shell.starts_with(folder)), "{shell:?}");
    }

    #[test]
    fn absent_program_is_named() {
        let error = require("no-such-program-at-all").expect_err("cannot exist");
        assert!(error.to_string().contains("no-such-program-at-all"));
    }
}
