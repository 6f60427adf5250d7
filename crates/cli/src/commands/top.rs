//! `tidegate top`: what a server does right now, on a terminal.
//!
//! A thread takes snapshots of the server ([`poll`]). [`History`] keeps what is needed of the last
//! minute and makes a [`View`] of it, which [`draw`] puts on the screen and [`text`] prints. Only
//! [`screen`] knows the terminal.

mod draw;
mod format;
mod history;
mod poll;
mod screen;
mod state;
mod text;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use self::history::History;
use self::view::View;
use crate::client::ServerClient;
use crate::options::ServerUrl;
use crate::output::print_text;

/// Watch a running server on the terminal: endpoints, objectives, alerts
#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    server: ServerUrl,
    /// The time between two updates, in seconds
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// Watch for one interval, print plain text and exit
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text
        .parse()
        .ok()
        // More often, snapshots would be a load of their own; less often, the figures of the last
        // minute would have nothing to be compared with.
        .filter(|seconds| (0.2..=60.0).contains(seconds));
    seconds.ok_or_else(|| "write a number of seconds from 0.2 to 60".to_owned())
}

impl Top {
    pub(super) fn run(self) -> Result<ExitCode> {
        let interval = Duration::from_secs_f64(self.interval);
        let url = self.server.url()?;
        if self.once {
            print_text(&text::page(&watch_once(&url, interval)?));
            return Ok(ExitCode::SUCCESS);
        }
        if !std::io::stdout().is_terminal() {
            bail!("top needs a terminal: --once prints plain text");
        }
        screen::run(&url, interval)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn watch_once(server: &str, interval: Duration) -> Result<View> {
    let client = ServerClient::new(server)?;
    let mut history = History::new(server);
    history.record_snapshot(client.snapshot()?);
    // Rates are differences between two snapshots.
    sleep(interval);
    history.record_snapshot(client.snapshot()?);
    Ok(history.view())
}
