//! The least of a redis client: one request, one simple reply.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection.
pub(super) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a server's socket.
    pub(super) fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket)?;
        // A server that hangs is a failed test, not a hung one.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Sends words and returns the reply: a status, a number or a string.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String> {
        let mut text = String::new();
        super::request(&mut text, words);
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.reply().with_context(|| format!("redis, asked {}", words.join(" ")))
    }

    fn reply(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end();
        let Some(rest) = line.get(1..) else { bail!("no reply") };
        match line.as_bytes()[0] {
            b'+' | b':' => Ok(rest.to_owned()),
            b'$' => {
                let length: usize = rest.parse()?;
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(String::from_utf8(bytes)?)
            }
            b'-' => bail!("{rest}"),
            _ => bail!("a reply we do not know: {line}"),
        }
    }
}
