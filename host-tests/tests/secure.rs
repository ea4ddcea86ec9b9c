//! Programs that run with more rights than who started them: what they find in their
//! environment is not theirs, and changes nothing.
#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use granule_host_tests::{Exit, Linkage, Run, Source};

/// Nobody's, by custom.
const NOBODY: u32 = 65534;

/// A folder that goes when the test ends, however it does.
struct Folder(PathBuf);

impl Folder {
    /// Where everybody can start programs.
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("granule-secure-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let folder = Self(path);
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A failure to remove costs only space.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn asking(program: &Path, case: &str) -> Run {
    Run::new(program).env("GRANULE_RESERVE", "64M,touch").arg(case)
}

fn check(run: &Run, what: &str) -> Result<()> {
    let outcome = run.outcome()?;
    ensure!(outcome.exit == Exit::Code(0), "{what}: {}", outcome.describe());
    Ok(())
}

/// Says, past the harness, which keeps what tests print, that a test was left out.
fn left_out(why: &str) -> Result<()> {
    writeln!(std::io::stderr(), "LEFT OUT: set-user-id programs: {why}")?;
    Ok(())
}

#[test]
fn set_user_id_programs_ignore_the_environment() -> Result<()> {
    // SAFETY: no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return left_out("only root can make them");
    }
    let folder = Folder::new()?;
    for linkage in [Linkage::Dynamic, Linkage::Static] {
        let program = folder.0.join(format!("{linkage:?}"));
        fs::copy(Source::new("secure.c").program(linkage)?.path, &program)?;
        fs::set_permissions(&program, Permissions::from_mode(0o4755))?;
        // Root has the rights already.
        check(&asking(&program, "the_environment_is_obeyed"), "as root")?;
        let more_rights = asking(&program, "it_has_more_rights").user(NOBODY).outcome()?;
        match more_rights.exit {
            Exit::Code(0) => {}
            Exit::Code(1) => return left_out("the kernel grants no rights here"),
            _ => bail!("{linkage:?}: {}", more_rights.describe()),
        }
        let ignored = asking(&program, "the_environment_is_ignored").user(NOBODY);
        check(&ignored, &format!("{linkage:?}"))?;
    }
    Ok(())
}

/// The same by what the C library says of the process's rights, which takes no root.
#[test]
fn so_do_those_that_the_kernel_says_have_more_rights() -> Result<()> {
    for (secure, case) in [(0, "the_environment_is_obeyed"), (1, "the_environment_is_ignored")] {
        for linkage in [Linkage::Preload, Linkage::Dynamic, Linkage::Static] {
            let source = Source::new("vector.c").flag(format!("-DSECURE={secure}"));
            let run = source.program(linkage)?.run()?.env("GRANULE_RESERVE", "64M,touch");
            check(&run.arg(case), &format!("{case} {linkage:?}"))?;
        }
    }
    Ok(())
}
