//! A job reports truthfully, and nothing outlives it.

use super::*;

fn shell(script: &str) -> Job {
    Job::new("/bin/sh").args(["-c", script])
}

#[test]
fn output_and_status_are_kept() {
    let done = shell("echo out; echo err >&2; exit 7").run().expect("runs");
    assert_eq!(done.status.code(), Some(7));
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert!(shell("exit 7").run_ok().is_err());
}

#[test]
fn a_hung_tree_is_killed_and_reported() {
    let started = Instant::now();
    let job = shell("sleep 60 & sleep 60").timeout(Duration::from_millis(200));
    let error = job.run().err().expect("cannot finish in time");
    assert!(error.to_string().contains("was killed"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "the limit did not hold");
}

#[test]
fn what_a_job_leaves_behind_is_killed() {
    let done = shell("sleep 60 & echo $!").run_ok().expect("runs");
    let stray: u32 = done.text().trim().parse().expect("a process number");
    // The kill is sent before `run_ok` returns; the kernel may need a moment.
    for _ in 0..200 {
        let stat = std::fs::read_to_string(format!("/proc/{stray}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("process {stray} outlived its job");
}

#[test]
fn dropping_a_running_job_kills_it() {
    let running = shell("exec sleep 60").spawn().expect("starts");
    let pid = running.pid();
    drop(running);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "reaped by drop");
}

#[test]
fn cpu_time_counts_the_children() {
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let done = shell(&format!("sh -c '{busy}'; true")).run_ok().expect("runs");
    assert!(done.cost.cpu > Duration::from_millis(20), "{:?}", done.cost);
}

#[test]
fn a_pipe_is_read_while_the_job_runs_and_ends_with_its_time() {
    let job = shell("echo out; echo err >&2; exec sleep 60").timeout(Duration::from_millis(300));
    let (running, mut reader) = job.pipe().expect("starts");
    let mut first = [0; 4];
    reader.read_exact(&mut first).expect("arrives before the end");
    assert_eq!(&first, b"out\n");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("ends with the time");
    assert!(rest.is_empty());
    let error = running.wait().err().expect("cannot finish in time").to_string();
    assert!(error.contains("was killed") && error.contains("err"), "{error}");
}
