//! A guard that kills a process group when its time is up.

use super::sys;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Armed from the start of a job to its end.
#[must_use = "an unarmed job may hang"]
pub(super) struct Guard {
    end: Sender<()>,
    watcher: JoinHandle<bool>,
}

impl Guard {
    /// Kills the group of `pid` after `limit`, unless disarmed before.
    ///
    /// The caller disarms it before it reaps `pid` (P1).
    pub(super) fn arm(pid: libc::pid_t, limit: Duration) -> Guard {
        let (end, ended) = channel();
        let watcher = std::thread::spawn(move || {
            let timed_out = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                sys::kill_group(pid);
            }
            timed_out
        });
        Guard { end, watcher }
    }

    /// Stands down; true when the time had run out and the group was killed.
    pub(super) fn disarm(self) -> bool {
        // The watcher may have ended already: then nobody receives this.
        let _ = self.end.send(());
        self.watcher.join().expect("the watcher does not panic")
    }
}
