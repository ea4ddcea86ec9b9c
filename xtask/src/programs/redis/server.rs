//! A redis server on a socket of its own, started and stopped cleanly.

use super::super::Stage;
use super::client::Client;
use super::field;
use crate::process::{Cost, Running};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the server writes to disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Nothing.
    None,
    /// A log of every write.
    AppendOnly,
}

/// A running server.
pub(super) struct Server {
    running: Running,
    client: RefCell<Client>,
    socket: PathBuf,
}

/// Time for a server to load its data, and for a rewrite of its log.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts one in the stage's folder, on the stage's allocator, and waits
    /// until it has loaded what is there.
    pub(super) fn start(stage: &Stage<'_>, durability: Durability) -> Result<Server> {
        let socket = stage.dir.join("socket");
        let append_only = match durability {
            Durability::None => "no",
            Durability::AppendOnly => "yes",
        };
        let job = stage.job("redis-server")?.args(["--port", "0", "--save", ""]);
        let job = job.args(["--appendonly", append_only, "--daemonize", "no"]);
        // The digest of the whole data set is a debug command.
        let job = job.args(["--enable-debug-command", "local"]);
        // We ask for rewrites; one of its own would be refused as a second one.
        let job = job.args(["--auto-aof-rewrite-percentage", "0"]);
        let job = job.arg("--dir").arg(stage.dir).arg("--unixsocket").arg(&socket);
        let running = job.spawn()?;

        let client = match wait_for(|| Ok(loaded(&socket).ok())) {
            Ok(client) => RefCell::new(client),
            Err(error) => {
                // Its last words say more than that it did not answer.
                let said = if running.ended()? { running.wait()?.tail() } else { String::new() };
                return Err(error.context(format!("redis-server does not answer\n{said}")));
            }
        };
        stage.under.require_mapped(running.pid())?;
        Ok(Server { running, client, socket })
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        self.client.borrow_mut().ask(words)
    }

    /// A digest of all its data, and the number of keys.
    pub(super) fn digest(&self) -> Result<String> {
        Ok(format!("{} ({} keys)", self.ask(&["DEBUG", "DIGEST"])?, self.ask(&["DBSIZE"])?))
    }

    /// Has it rewrite its log in a forked child, and waits for the end.
    pub(super) fn rewrite_log(&self) -> Result<()> {
        self.ask(&["BGREWRITEAOF"])?;
        wait_for(|| {
            let info = self.ask(&["INFO", "persistence"])?;
            let busy = field(&info, "aof_rewrite_in_progress")? != "0"
                || field(&info, "aof_rewrite_scheduled")? != "0";
            Ok((!busy).then_some(()))
        })?;
        let info = self.ask(&["INFO", "persistence"])?;
        match field(&info, "aof_last_bgrewrite_status")? {
            "ok" => Ok(()),
            other => bail!("the rewrite of the log ended with {other}"),
        }
    }

    /// Its own peak resident memory, which `wait4` would mix with ours.
    pub(super) fn peak_kib(&self) -> Result<u64> {
        crate::process::peak_of_running(self.running.pid())
    }

    /// Shuts it down and waits for a clean end.
    pub(super) fn stop(self) -> Result<Cost> {
        // A server that shuts down closes the connection instead of replying.
        let _ = self.ask(&["SHUTDOWN"]);
        let done = self.running.wait()?;
        if !done.status.success() {
            bail!("redis-server ended with {}\n{}", done.status, done.tail());
        }
        Ok(done.cost)
    }
}

/// A connection to a server that has finished loading.
fn loaded(socket: &Path) -> Result<Client> {
    let mut client = Client::connect(socket)?;
    client.ask(&["PING"])?;
    Ok(client)
}

/// Asks again and again until there is an answer, with an end to it.
fn wait_for<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(anyhow::anyhow!("waited {} s", PATIENCE.as_secs())).context("redis-server")
}
