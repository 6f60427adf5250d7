//! `wrk`, the client of all HTTP figures.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// What every request of a run is.
#[derive(Clone)]
pub(super) struct Load {
    /// The path of the URL.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// Headers besides the body's length.
    pub(super) headers: Vec<(String, String)>,
    pub(super) connections: usize,
    /// Threads of the client.
    pub(super) threads: usize,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Answers other than a success, and failures of sockets.
    pub(super) errors: u64,
}

impl Figures {
    pub(super) fn rate(&self) -> f64 {
        self.requests_per_second
    }

    pub(super) fn p50(&self) -> f64 {
        self.p50_us
    }

    pub(super) fn p99(&self) -> f64 {
        self.p99_us
    }
}

const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\nfigures {"requests_per_second": %f, "p50_us": %f, "p99_us": %f, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// Every thread renders all requests beforehand.
const OVER: &str = r#"
local requests, at = {}, 0
init = function(arguments)
  for place, path in ipairs(paths) do requests[place] = wrk.format(nil, path) end
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
"#;

/// Sends requests over all connections, each the next as soon as it has the answer to the last.
pub(super) fn wrk(url: &str, load: &Load, seconds: u64) -> Result<Figures> {
    wrk_over(url, load, &[], seconds)
}

/// The same over many paths in turn, in place of the load's own.
pub(super) fn wrk_over(url: &str, load: &Load, paths: &[String], seconds: u64) -> Result<Figures> {
    let folder = std::env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let script = script(&folder, load, paths)?;
    let output = Command::new("wrk")
        .args([
            "--threads",
            &load.threads.to_string(),
            "--connections",
            &load.connections.to_string(),
        ])
        .args(["--duration", &format!("{seconds}s"), "--script"])
        .arg(&script)
        .arg(format!("{url}{}", load.path))
        .output()
        .context("wrk cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("figures ")) else {
        bail!(
            "wrk gave no figures: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let figures: Figures = serde_json::from_str(line)?;
    if figures.errors > 0 {
        bail!(
            "{} of the requests to {url}{} failed",
            figures.errors,
            load.path
        );
    }
    Ok(figures)
}

fn script(folder: &Path, load: &Load, paths: &[String]) -> Result<PathBuf> {
    let body = folder.join("body");
    std::fs::write(&body, &load.body)?;
    let headers: String = load
        .headers
        .iter()
        .map(|(name, value)| format!("wrk.headers[{name:?}] = {value:?}\n"))
        .collect();
    let script = folder.join("post.lua");
    let body = body.display();
    let open = format!(
        "local file = io.open(\"{body}\", \"rb\")\nwrk.body = file:read(\"*a\")\nfile:close()\n"
    );
    let over = if paths.is_empty() {
        String::new()
    } else {
        format!("local paths = {{{}}}\n{OVER}", quoted(paths))
    };
    std::fs::write(
        &script,
        format!("wrk.method = \"POST\"\n{open}{headers}{over}{SCRIPT}"),
    )?;
    Ok(script)
}

fn quoted(paths: &[String]) -> String {
    paths
        .iter()
        .map(|path| format!("{path:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}
