//! Git: a generated history imported, changed, packed, checked and read.

use super::{Judge, Observed, Program, Stage};
use crate::process::Job;
use crate::setup;
use anyhow::{Result, bail};
use std::fmt::Write;
use std::time::Duration;

/// Many short processes and, while packing, threads.
pub(crate) const GIT: Program = Program {
    name: "git",
    about: "import, commit, gc, fsck and log of a generated history",
    needs: &[setup::GIT],
    proof: ("git", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(180),
    run,
};

/// Who commits, and when: so that every run makes the same objects.
const AUTHOR: &str = "Somebody <somebody@example.invalid>";

fn run(stage: &Stage<'_>) -> Result<Observed> {
    let (commits, files) = stage.scaled((60, 120), (400, 300));
    let history = stage.write("history", history(commits, files))?;
    let mut seen = Observed::default();
    let mut git = |name: Option<&'static str>, job: Job| -> Result<()> {
        let done = job.run_ok()?;
        seen.cost = seen.cost.then(done.cost);
        seen.output.extend(name.map(|name| (name, done.stdout)));
        Ok(())
    };
    let job = |args: &[&str]| Ok::<_, anyhow::Error>(settled(stage.job("git")?).args(args));

    git(None, job(&["init", "-q", "-b", "main", "."])?)?;
    git(None, job(&["fast-import", "--quiet"])?.input(history))?;
    git(None, job(&["reset", "-q", "--hard", "main"])?)?;
    stage.write("dir1/new.txt", "a new file\n")?;
    git(None, job(&["add", "dir1"])?)?;
    git(None, job(&["commit", "-q", "-m", "Add a file by hand"])?)?;
    git(None, job(&["gc", "-q", "--aggressive", "--prune=now"])?)?;
    git(Some("fsck"), job(&["fsck", "--full", "--strict"])?)?;
    git(Some("the log with patches"), job(&["log", "-p", "--stat", "-n", "200"])?)?;
    git(Some("the list of objects"), job(&["rev-list", "--objects", "--all"])?)?;
    git(Some("blame"), job(&["blame", "dir1/file1.txt"])?)?;
    if seen.output.iter().any(|(name, bytes)| *name == "blame" && bytes.is_empty()) {
        bail!("blame of a file with a history is empty");
    }
    Ok(seen)
}

/// Fixes everything git would take from its surroundings.
fn settled(job: Job) -> Job {
    job.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Somebody")
        .env("GIT_AUTHOR_EMAIL", "somebody@example.invalid")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_NAME", "Somebody")
        .env("GIT_COMMITTER_EMAIL", "somebody@example.invalid")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .env("GIT_PAGER", "cat")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
}

/// A stream for `git fast-import`: in every commit some files get a new line
/// in the middle, so that packing finds deltas.
fn history(commits: usize, files: usize) -> String {
    let mut contents: Vec<Vec<String>> = (0..files)
        .map(|file| (0..40).map(|line| format!("line {line} of file {file}\n")).collect())
        .collect();
    let mut stream = String::new();
    for commit in 0..commits {
        let message = format!("Change {commit}");
        write!(
            stream,
            "commit refs/heads/main\ncommitter {AUTHOR} {} +0000\ndata {}\n{message}\n",
            1_600_000_000 + commit * 60,
            message.len(),
        )
        .expect("a String takes everything");
        for (file, lines) in contents.iter_mut().enumerate() {
            if commit != 0 && (commit * 31 + file * 17) % 11 != 0 {
                continue;
            }
            let at = (commit * 7 + file) % lines.len();
            lines.insert(at, format!("changed in commit {commit}, near line {at}\n"));
            let text = lines.concat();
            write!(
                stream,
                "M 100644 inline dir{}/file{file}.txt\ndata {}\n{text}\n",
                file % 9,
                text.len(),
            )
            .expect("a String takes everything");
        }
    }
    stream
}
