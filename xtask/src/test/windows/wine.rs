//! Wine and the compiler for Windows, in a folder of their own.

use super::TRIPLE;
use crate::process::Job;
use crate::setup::{self, Need};
use crate::test::Skipped;
use crate::{tools, workspace};
use anyhow::{Context, Error, Result, anyhow};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The compiler, which links Rust's programs, too.
const COMPILER: &str = "x86_64-w64-mingw32-gcc";
const MINGW: Need = Need::program(COMPILER, &["gcc-mingw-w64-x86-64-win32"]);

/// Debian puts its wine into no folder of programs.
const DEBIAN_WINE: &str = "/usr/lib/wine/wine64";
const WINE: Need = Need::program_or_file("wine64", DEBIAN_WINE, &["wine64"]);

/// Wine's folder is made when it first starts.
const FIRST_START: Duration = Duration::from_secs(180);

/// Why a stage is skipped.
fn missing(why: Error) -> Error {
    Skipped(format!("{why:#}")).into()
}

/// Wine as these stages use it.
pub(super) struct Wine {
    wine: PathBuf,
    compiler: PathBuf,
    folder: PathBuf,
}

impl Wine {
    /// Everything the stages need, installed when missing, and tried. A machine that
    /// cannot have it skips the stage, which fails where anything else goes wrong.
    pub(super) fn set_up() -> Result<Wine> {
        setup::ensure(&[&MINGW, &WINE]).map_err(missing)?;
        setup::have_target(TRIPLE).map_err(missing)?;
        let compiler = tools::require(COMPILER).map_err(missing)?;
        let folder = workspace::target().join("windows");
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let wine = tools::find("wine64").unwrap_or_else(|| DEBIAN_WINE.into());
        let wine = Wine { wine, compiler, folder };
        wine.compile("bcryptprimitives.dll", ["-shared".into(), "-ladvapi32".into()], RANDOM)?;
        let started = wine.job(Path::new("cmd")).args(["/c", "exit"]).timeout(FIRST_START).run()?;
        if !started.status.success() {
            return Err(missing(anyhow!("wine does not start here ({})", started.status)));
        }
        Ok(wine)
    }

    /// Where programs are put.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Compiles C: `source`, or else the files among `args`, into `name`.
    pub(super) fn compile(
        &self,
        name: &str,
        args: impl IntoIterator<Item = OsString>,
        source: &str,
    ) -> Result<PathBuf> {
        let output = self.folder.join(name);
        let mut job = Job::new(&self.compiler).args(["-O1", "-o"]).arg(&output);
        if !source.is_empty() {
            let file = output.with_extension("c");
            std::fs::write(&file, source).with_context(|| format!("{}", file.display()))?;
            job = job.arg(file);
        }
        job.args(args).cwd(workspace::root()).run_ok()?;
        Ok(output)
    }

    /// A program of Windows, as a job.
    pub(super) fn job(&self, program: &Path) -> Job {
        self.surround(Job::new(&self.wine).arg(program)).cwd(&self.folder)
    }

    /// A cargo command whose programs are run by wine.
    pub(super) fn for_cargo(&self, cargo: Job) -> Job {
        let target = TRIPLE.to_uppercase().replace('-', "_");
        let cargo = cargo.env(&format!("CARGO_TARGET_{target}_RUNNER"), &self.wine);
        self.surround(cargo.env(&format!("CARGO_TARGET_{target}_LINKER"), &self.compiler))
    }

    fn surround(&self, job: Job) -> Job {
        job.env("WINEPREFIX", self.folder.join("prefix"))
            // Where its libraries are looked for, as wine names the folder.
            .env("WINEPATH", windows_path(&self.folder))
            .env("WINEDEBUG", "-all")
            // Nothing is to be installed, nor asked of a person.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY")
    }
}

/// A folder of this machine as wine names it.
fn windows_path(folder: &Path) -> String {
    format!("Z:{}", folder.display()).replace('/', "\\")
}

/// The one function of a library that wine 8 lacks, over what that is on
/// Windows, too.
const RANDOM: &str = include_str!("random.c");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lies_on_the_drive_of_this_machine() {
        assert_eq!(windows_path(Path::new("/a/b c")), "Z:\\a\\b c");
    }
}
