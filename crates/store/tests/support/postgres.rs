//! A PostgreSQL of one's own: as an unprivileged user, on a socket in a temporary folder, gone at
//! the end.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server.
pub(crate) struct Postgres {
    process: Child,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts a server on it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-postgres-")
            .tempdir()
            .unwrap();
        let binaries =
            binaries().expect("PostgreSQL is not installed: run `cargo xtask setup --tests`");
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(binaries.join(program));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(folder.path()).env("LC_ALL", "C");
            command
        };
        let cluster = folder.path().join("cluster");
        let made = command("initdb")
            .args([
                "--username=tidegate",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "-D",
            ])
            .arg(&cluster)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut process = command("postgres")
            .arg("-D")
            .arg(&cluster)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=50",
                "-k",
            ])
            .arg(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = log
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("ready to accept connections"));
        assert!(ready, "PostgreSQL ended before it was ready");
        // The server would stop at a full pipe.
        std::thread::spawn(move || log.map_while(Result::ok).count());
        Self { process, folder }
    }

    /// Makes an empty database and gives its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        let status = Command::new(binaries().unwrap().join("createdb"))
            .args(["--username=tidegate", "--host"])
            .arg(self.folder.path())
            .arg(name)
            .status()
            .unwrap();
        assert!(status.success());
        format!(
            "postgres:///{name}?host={}&user=tidegate",
            self.folder.path().display()
        )
    }

    /// Stops the server at once, without a word to its clients.
    #[allow(dead_code, reason = "not every test does")]
    pub(crate) fn kill(&mut self) {
        // SIGQUIT ends the children too; a bare kill would leave them to notice by themselves.
        let _ = Command::new("kill")
            .args(["-QUIT", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Where the server was stopped already, its number may be another process's by now.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// The folder of the newest installed server's programs.
fn binaries() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, folder)| folder)
}

/// PostgreSQL refuses to run as root: whom to run it as there.
fn unprivileged() -> Option<(u32, u32)> {
    let own =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(Path::new("/proc/self")).unwrap());
    if own != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let id = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        id("postgres")
            .or_else(|| id("nobody"))
            .expect("there is an unprivileged user"),
    )
}
