//! A PostgreSQL of one's own: as an unprivileged user, on a socket in a temporary folder, gone at
//! the end.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

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
                "max_connections=200",
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

    /// Runs statements in a database.
    #[allow(dead_code, reason = "not every test does")]
    pub(crate) fn run_sql(&self, name: &str, sql: &str) {
        let status = Command::new(binaries().unwrap().join("psql"))
            .args(["--username=tidegate", "--quiet", "--host"])
            .arg(self.folder.path())
            .args([name, "--command", sql])
            .status()
            .unwrap();
        assert!(status.success());
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

/// A way to a server that can swallow what its connections send.
#[allow(dead_code, reason = "not every test has one")]
pub(crate) struct Relay {
    /// The database behind it.
    pub(crate) url: String,
    /// Connections below this number swallow everything.
    swallowed: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

#[allow(dead_code, reason = "not every test has one")]
impl Relay {
    pub(crate) async fn to(database: &str) -> Self {
        const SOCKET: &str = ".s.PGSQL.5432";
        let (start, rest) = database.split_once("host=").unwrap();
        let (host, end) = rest.split_once('&').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let target = Path::new(host).join(SOCKET);
        let (swallowed, opened) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let relay = Self {
            url: format!("{start}host={}&{end}", folder.path().display()),
            swallowed: swallowed.clone(),
            opened: opened.clone(),
            _folder: folder,
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&target).await.unwrap();
                let number = opened.fetch_add(1, Ordering::Relaxed);
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, number, swallowed.clone()));
                tokio::spawn(carry(from_server, to_client, number, swallowed.clone()));
            }
        });
        relay
    }

    /// Swallows everything on the connections that are open now; new ones work.
    pub(crate) fn swallow(&self) {
        let opened = self.opened.load(Ordering::Relaxed);
        self.swallowed.store(opened, Ordering::Relaxed);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: usize,
    swallowed: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 1 << 14];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let is_swallowed = number < swallowed.load(Ordering::Relaxed);
        if !is_swallowed && to.write_all(&buffer[..length]).await.is_err() {
            return;
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
