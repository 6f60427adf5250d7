//! A server under callgrind, asked over one connection.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::profile::Profile;
use crate::bench::client::Load;
use crate::{setup, target};

/// The program of `bench/` that serves to be counted; it is killed when dropped.
pub(super) struct Counted {
    process: Child,
    control: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    address: String,
    folder: PathBuf,
    /// Profiles written so far.
    profiles: usize,
}

impl Counted {
    /// Serves a model and waits until it answers.
    pub(super) fn start(model: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!(
            "tidegate-bench-instructions-{}",
            std::process::id()
        ));
        std::fs::create_dir_all(&folder)?;
        let mut process = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--instr-atstart=no"])
            .arg(format!(
                "--callgrind-out-file={}",
                folder.join("profile").display()
            ))
            .arg(target().join("release/tidegate-bench"))
            .args(["counted", "--model"])
            .arg(model)
            .env("TIDEGATE_ONNXRUNTIME", setup::onnxruntime_library()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("valgrind cannot be started")?;
        let control = process
            .stdin
            .take()
            .context("the server's input is piped")?;
        let said = BufReader::new(
            process
                .stdout
                .take()
                .context("the server's output is piped")?,
        )
        .lines();
        let mut server = Self {
            process,
            control,
            said,
            address: String::new(),
            folder,
            profiles: 0,
        };
        server.address = server.hear("listening http://")?;
        Ok(server)
    }

    /// Counts what so many requests take.
    pub(super) fn count(&mut self, load: &Load, warm_up: usize, requests: usize) -> Result<()> {
        let mut client = TcpStream::connect(&self.address)?;
        client.set_nodelay(true)?;
        let request = request(load);
        self.tell("start")?;
        ask(&mut client, &request, warm_up)?;
        self.tell("zero")?;
        ask(&mut client, &request, requests)?;
        self.tell("dump")?;
        self.profiles += 1;
        Ok(())
    }

    /// Tells callgrind something, by way of the program.
    fn tell(&mut self, what: &str) -> Result<()> {
        writeln!(self.control, "{what}")?;
        self.hear(&format!("done {what}")).map(drop)
    }

    /// Ends the server and reads what was counted.
    pub(super) fn finish(self) -> Result<Vec<Profile>> {
        let Self {
            mut process,
            control,
            folder,
            profiles,
            ..
        } = self;
        drop(control);
        ensure!(process.wait()?.success(), "the counted server failed");
        let files = (1..=profiles).map(|number| folder.join(format!("profile.{number}")));
        let read = files.map(|file| Profile::read(&file)).collect();
        let _ = std::fs::remove_dir_all(&folder);
        read
    }

    /// The rest of the next line that begins so.
    fn hear(&mut self, wanted: &str) -> Result<String> {
        for line in self.said.by_ref() {
            if let Some(rest) = line?.strip_prefix(wanted) {
                return Ok(rest.to_owned());
            }
        }
        bail!("the counted server ended before it said \"{wanted}\"")
    }
}

/// The request as `wrk` writes it.
fn request(load: &Load) -> Vec<u8> {
    let mut head = format!("POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", load.path);
    for (name, value) in &load.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", load.body.len()));
    [head.as_bytes(), &load.body].concat()
}

/// Sends a request as often, each when the last is answered.
fn ask(client: &mut TcpStream, request: &[u8], times: usize) -> Result<()> {
    for _ in 0..times {
        client.write_all(request)?;
        answer(client)?;
    }
    Ok(())
}

/// Reads an answer, and insists that it is a success.
fn answer(client: &mut TcpStream) -> Result<()> {
    let (mut answer, mut wanted) = (Vec::new(), usize::MAX);
    let mut buffer = [0; 16384];
    while answer.len() < wanted {
        let read = client.read(&mut buffer)?;
        ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..read]);
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            wanted = end + 4 + content_length(&answer[..end])?;
        }
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

fn content_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    Ok(length
        .context("an answer without its length")?
        .trim()
        .parse()?)
}
