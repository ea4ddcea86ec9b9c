//! Redis: a server under load from many clients, and forks under load.

mod client;
mod server;

use super::{Judge, Observed, Program, Stage};
use crate::setup;
use anyhow::{Context, Result, bail};
use server::{Durability, Server};
use std::fmt::Write;
use std::time::Duration;

/// A server in memory under the load generator that comes with it.
pub(crate) const SERVER: Program = Program {
    name: "redis-server",
    about: "a loaded data set, then redis-benchmark with 50 clients",
    needs: &[setup::REDIS],
    proof: ("redis-server", "--version"),
    judge: Judge::SameOutput,
    timeout: Duration::from_secs(120),
    run: serve,
};

/// A server that logs to disk, rewrites its log by fork while 50 clients
/// write, and must come back with the same data.
pub(crate) const APPEND_ONLY: Program = Program {
    name: "redis-server, append only",
    about: "log rewritten by fork under 50 clients, then a restart",
    judge: Judge::Itself,
    run: rewrite_under_load,
    ..SERVER
};

/// Keys per kind of value in the data set.
const KEYS: usize = 20_000;

fn serve(stage: &Stage<'_>) -> Result<Observed> {
    let server = Server::start(stage, Durability::None)?;
    load(stage, &server)?;
    // Before the benchmark, whose keys are random.
    let digest = server.digest()?;
    let done = benchmark(stage, &server, stage.scaled("100000", "400000"))?.wait()?;
    if !done.status.success() || done.text().contains("Error") {
        bail!("redis-benchmark failed ({})\n{}", done.status, done.tail());
    }
    let peak_kib = server.peak_kib()?;
    let mut cost = server.stop()?;
    // The server's processor time and memory, the wall time its clients saw:
    // the generator is the same program on the same allocator every time.
    cost.wall = done.cost.wall;
    cost.peak_kib = peak_kib;
    Ok(Observed { cost, output: vec![("the digest of the data set", digest.into())] })
}

fn rewrite_under_load(stage: &Stage<'_>) -> Result<Observed> {
    let server = Server::start(stage, Durability::AppendOnly)?;
    load(stage, &server)?;
    let load = benchmark(stage, &server, "400000")?;
    let mut under_load = 0;
    while !load.ended()? {
        server.rewrite_log()?;
        if !load.ended()? {
            under_load += 1;
        }
    }
    let done = load.wait()?;
    if !done.status.success() || done.text().contains("Error") {
        bail!("redis-benchmark failed ({})\n{}", done.status, done.tail());
    }
    if under_load == 0 {
        bail!("the load ended before the first rewrite did: nothing was tested");
    }
    let before = server.digest()?;
    let cost = server.stop()?;

    let again = Server::start(stage, Durability::AppendOnly)?;
    let after = again.digest()?;
    if before != after {
        bail!("the data set is not the same after a restart: {before}, then {after}");
    }
    Ok(Observed { cost: cost.then(again.stop()?), output: Vec::new() })
}

/// 50 clients doing a little of everything, eight requests in flight each.
fn benchmark(
    stage: &Stage<'_>,
    server: &Server,
    requests: &str,
) -> Result<crate::process::Running> {
    let job = stage.bystander("redis-benchmark")?.arg("-s").arg(server.socket());
    let job = job.args(["-q", "-c", "50", "-P", "8", "-r", "50000", "-d", "200", "-n", requests]);
    job.args(["-t", "set,get,incr,lpush,lpop,sadd,hset,zadd"]).spawn()
}

/// Loads a data set that is always the same, through redis's own bulk loader.
fn load(stage: &Stage<'_>, server: &Server) -> Result<()> {
    let mut commands = String::new();
    for at in 0..KEYS {
        // Lengths that visit every size class up to 2 KiB, and some beyond.
        let long = (at * 7919) % 2048 + if at % 500 == 0 { 40_000 } else { 0 };
        let value = "v".repeat(long);
        request(&mut commands, &["SET", &format!("text:{at}"), &value]);
        let list = format!("list:{}", at % 300);
        request(&mut commands, &["RPUSH", &list, &value[..long.min(90)]]);
        request(&mut commands, &["HSET", &format!("hash:{}", at % 700), &at.to_string(), "x"]);
        request(&mut commands, &["ZADD", "ranking", &(at % 997).to_string(), &at.to_string()]);
        if at % 3 == 0 {
            request(&mut commands, &["DEL", &format!("text:{}", at / 2)]);
        }
    }
    let file = stage.write("commands", commands)?;
    let job = stage.bystander("redis-cli")?.arg("-s").arg(server.socket()).arg("--pipe");
    let said = job.input(file).run_ok()?.text();
    let last = said.lines().last().unwrap_or_default();
    if !last.starts_with("errors: 0,") {
        bail!("loading the data set: {last}");
    }
    Ok(())
}

/// Appends one request in redis's own protocol.
fn request(commands: &mut String, words: &[&str]) {
    write!(commands, "*{}\r\n", words.len()).expect("a String takes everything");
    for word in words {
        write!(commands, "${}\r\n{word}\r\n", word.len()).expect("a String takes everything");
    }
}

/// The number that follows `field:` in an INFO reply.
fn field<'a>(info: &'a str, field: &str) -> Result<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .with_context(|| format!("redis does not tell {field}"))
}
