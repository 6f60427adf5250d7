//! Installing, starting and stopping the peers under `bench/peers`.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::client::Load;
use super::super::contestant::{Contestant, example, post};
use super::super::group::Group;
use crate::{root, setup};

/// How long a peer may take to give its first answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server of models that others made, in one way of running it.
pub(super) struct Peer {
    /// What tables call it.
    pub(super) title: &'static str,
    /// The folder under `bench/peers`, and the package that is measured.
    folder: &'static str,
    /// What its Python runs.
    arguments: fn(&Place) -> Vec<String>,
    /// What it is told by its environment, besides `PEER_MODEL`, `PEER_PORT` and `PEER_WORKERS`.
    variables: fn(&Place) -> Vec<(&'static str, String)>,
}

/// Where and how large one start of a peer is.
struct Place {
    /// Its folder in the checkout.
    source: PathBuf,
    /// Where it may write.
    scratch: PathBuf,
    ports: [u16; 3],
    workers: usize,
}

/// Where documentation leaves a choice, both are measured.
pub(super) const PEERS: [Peer; 6] = [
    Peer {
        title: "MLServer, in process",
        folder: "mlserver",
        arguments: mlserver,
        variables: |place| mlserver_settings(place, 0),
    },
    Peer {
        title: "MLServer, a worker a core",
        folder: "mlserver",
        arguments: mlserver,
        variables: |place| mlserver_settings(place, place.workers),
    },
    Peer {
        title: "FastAPI, a worker a core",
        folder: "fastapi",
        arguments: uvicorn,
        variables: |_| Vec::new(),
    },
    Peer {
        title: "LitServe, a worker a core",
        folder: "litserve",
        arguments: litserve,
        variables: |_| Vec::new(),
    },
    Peer {
        title: "LitServe, the same, fast queue",
        folder: "litserve",
        arguments: litserve,
        variables: |_| vec![("PEER_QUEUE", "zmq".to_owned())],
    },
    Peer {
        title: "BentoML, a worker a core",
        folder: "bentoml",
        arguments: bentoml,
        variables: |place| {
            let home = place.scratch.join("bentoml").display().to_string();
            vec![
                ("BENTOML_HOME", home),
                ("BENTOML_DO_NOT_TRACK", "True".to_owned()),
            ]
        },
    },
];

fn mlserver(place: &Place) -> Vec<String> {
    let start = "import sys; from mlserver.cli import main; sys.exit(main())";
    ["-c", start, "start"]
        .map(str::to_owned)
        .into_iter()
        .chain([place.source.display().to_string()])
        .collect()
}

fn mlserver_settings(place: &Place, parallel_workers: usize) -> Vec<(&'static str, String)> {
    vec![
        ("MLSERVER_HOST", "127.0.0.1".to_owned()),
        ("MLSERVER_HTTP_PORT", place.ports[0].to_string()),
        ("MLSERVER_GRPC_PORT", place.ports[1].to_string()),
        ("MLSERVER_METRICS_PORT", place.ports[2].to_string()),
        ("MLSERVER_DEBUG", "false".to_owned()),
        ("MLSERVER_PARALLEL_WORKERS", parallel_workers.to_string()),
    ]
}

fn uvicorn(place: &Place) -> Vec<String> {
    let (source, port, workers) = (
        place.source.display().to_string(),
        place.ports[0],
        place.workers,
    );
    let line = format!(
        "-m uvicorn --host 127.0.0.1 --port {port} --workers {workers} --log-level warning app:app"
    );
    let rest = ["--no-access-log".to_owned(), "--app-dir".to_owned(), source];
    line.split(' ').map(str::to_owned).chain(rest).collect()
}

fn litserve(place: &Place) -> Vec<String> {
    vec![place.source.join("serve.py").display().to_string()]
}

fn bentoml(place: &Place) -> Vec<String> {
    let line = format!(
        "-m bentoml serve --host 127.0.0.1 --port {} service:Digits",
        place.ports[0]
    );
    let rest = [
        "--working-dir".to_owned(),
        place.source.display().to_string(),
    ];
    line.split(' ').map(str::to_owned).chain(rest).collect()
}

impl Peer {
    /// Makes its Python environment; gives its `python`.
    pub(super) fn install(&self) -> Result<PathBuf> {
        setup::environment(
            &format!("peer-{}", self.folder),
            &self.source().join("requirements.txt"),
        )
    }

    /// As its requirements pin it.
    pub(super) fn version(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.source().join("requirements.txt"))?;
        let pin = text
            .lines()
            .find_map(|line| line.strip_prefix(self.folder)?.strip_prefix("=="));
        Ok(pin
            .with_context(|| format!("{} is not pinned", self.folder))?
            .to_owned())
    }

    fn source(&self) -> PathBuf {
        let folder = root().join("bench/peers").join(self.folder);
        folder.canonicalize().unwrap_or(folder)
    }

    /// Starts it over the digits model and waits until it answers `load`.
    pub(super) fn start(&self, load: &Load) -> Result<Contestant> {
        let scratch =
            std::env::temp_dir().join(format!("tidegate-bench-peer-{}", std::process::id()));
        std::fs::create_dir_all(&scratch)?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let place = Place {
            source: self.source(),
            scratch,
            ports: free_ports()?,
            workers,
        };
        let log = place.scratch.join(format!("{}.log", self.folder));
        let mut command = Command::new(self.install()?);
        command
            .args((self.arguments)(&place))
            .current_dir(&place.scratch)
            .env("PEER_MODEL", example("digits").canonicalize()?)
            .env("PEER_PORT", place.ports[0].to_string())
            .env("PEER_WORKERS", workers.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs((self.variables)(&place))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?);
        let mut group = Group::spawn(&mut command)
            .with_context(|| format!("{} cannot be started", self.title))?;
        let url = format!("http://127.0.0.1:{}", place.ports[0]);
        let started = Instant::now();
        while let Err(error) = post(&url, load) {
            if group.has_ended() || started.elapsed() > PATIENCE {
                return Err(error.context(format!(
                    "{} did not start, see {}",
                    self.title,
                    log.display()
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Contestant::group(self.title, url, group))
    }
}

/// Ports that nothing listened on a moment ago.
fn free_ports() -> Result<[u16; 3]> {
    let mut ports = [0; 3];
    // All listen until the last one does, so that none gets the port of another.
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
