//! A `tidegate serve` process of one's own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running server; it is killed when dropped.
pub(crate) struct Server {
    process: Child,
    /// Such as `http://127.0.0.1:41234`.
    pub(crate) http: String,
    /// Such as `127.0.0.1:41235`.
    pub(crate) grpc: String,
    /// Lines about models that could not be loaded.
    pub(crate) failed: Vec<String>,
    /// What the server said when it was ready.
    pub(crate) ready: String,
}

impl Server {
    /// Starts `binary` on free ports over `models` and waits until they are loaded.
    pub(crate) fn start(binary: &Path, models: &Path, data: &Path) -> Result<Self> {
        Self::start_over(binary, &[models], data)
    }

    /// As [`Server::start`], over several paths.
    pub(crate) fn start_over(binary: &Path, models: &[&Path], data: &Path) -> Result<Self> {
        Self::start_with(binary, models, data, &[])
    }

    /// As [`Server::start_over`], with more arguments.
    pub(crate) fn start_with(
        binary: &Path,
        models: &[&Path],
        data: &Path,
        arguments: &[&OsStr],
    ) -> Result<Self> {
        let mut process = Command::new(binary)
            .arg("serve")
            .args(models)
            .args(arguments)
            .args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("TIDEGATE_LOG__LEVEL", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let output = process
            .stdout
            .take()
            .context("the server's output is piped")?;
        let mut server = Self {
            process,
            http: String::new(),
            grpc: String::new(),
            failed: Vec::new(),
            ready: String::new(),
        };
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(http) = line.strip_prefix("REST ") {
                server.http = http.trim().to_owned();
            } else if let Some(grpc) = line.strip_prefix("gRPC ") {
                server.grpc = grpc.trim().to_owned();
            } else if let Some(failed) = line.strip_prefix("failed ") {
                server.failed.push(failed.trim().to_owned());
            } else if let Some(ready) = line.strip_prefix("ready ") {
                server.ready = ready.trim().to_owned();
                return Ok(server);
            }
        }
        bail!("the server ended before it was ready")
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the process ends by itself.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.process.wait()?;
        Ok(())
    }

    /// Asks the process to end and insists that it does so well.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status()?;
        if !status.success() {
            bail!("the server was gone before it was stopped");
        }
        let patience = Instant::now() + Duration::from_secs(40);
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status}"),
                None if Instant::now() > patience => bail!("the server did not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
