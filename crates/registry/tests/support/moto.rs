//! An S3-compatible server of one's own: moto, from the tests' Python environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running server with one bucket.
pub(crate) struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let program = program();
        let mut process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: run `cargo xtask setup --tests`",
                    program.display()
                )
            });
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("Running on http://")
                .map(|(_, address)| address.trim().to_owned())
        });
        let address = address.expect("moto ended before it was ready");
        // The server would stop at a full pipe.
        std::thread::spawn(move || log.map_while(Result::ok).count());
        let moto = Self { process, address };
        moto.request("PUT", "/models", b"");
        moto
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends a request without credentials; gives the status.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("{answer}"))
    }

    /// Refuses all credentials, or takes any again.
    pub(crate) fn refuse(&self, refuse: bool) {
        let count: &[u8] = if refuse { b"0" } else { b"inf" };
        assert_eq!(self.request("POST", "/moto-api/reset-auth", count), 200);
    }

    /// Forgets everything, the bucket too.
    pub(crate) fn forget(&self) {
        assert_eq!(self.request("POST", "/moto-api/reset", b""), 200);
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the environment that `cargo xtask setup --tests` makes, else wherever the path has it.
fn program() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let own = cache
        .unwrap_or_default()
        .join("tidegate/venv/tests/bin/moto_server");
    if own.exists() {
        own
    } else {
        PathBuf::from("moto_server")
    }
}
