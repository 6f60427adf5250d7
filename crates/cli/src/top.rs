//! `tidegate top`: what a server does right now, on a terminal.
//!
//! A thread looks at the server again and again ([`poll`]); [`Watch`] keeps what is needed of the
//! last minute and makes a [`View`] of it, which [`draw`] puts on the screen and [`text`] prints.
//! [`screen`] alone knows the terminal.

mod draw;
mod figure;
mod poll;
mod screen;
mod state;
mod text;
mod view;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use self::view::View;
use self::watch::Watch;
use crate::ask::Asker;

/// Watch a running server on the terminal: endpoints, objectives, alerts
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The server to watch
    #[arg(
        long,
        visible_alias = "url",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000"
    )]
    server: String,
    /// How often it is looked at, in seconds
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// Look for one interval, print plain text and end
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.2..=60.0).contains(seconds));
    seconds.ok_or_else(|| "it must be 0.2 to 60 seconds".to_owned())
}

/// Watches until the user has seen enough.
pub(crate) fn run(args: &Top) -> Result<ExitCode> {
    let interval = Duration::from_secs_f64(args.interval);
    if args.once {
        print!("{}", text::page(&once(&args.server, interval)?));
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::stdout().is_terminal() {
        bail!("top needs a terminal: --once prints plain text");
    }
    screen::run(&args.server, interval)?;
    Ok(ExitCode::SUCCESS)
}

fn once(server: &str, interval: Duration) -> Result<View> {
    let asker = Asker::new(server);
    let mut watch = Watch::new(server);
    watch.saw(asker.look()?);
    sleep(interval);
    watch.saw(asker.look()?);
    Ok(watch.view())
}
