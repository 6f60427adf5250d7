//! The terminal: keys and looks come in, frames go out. However it ends, the terminal is as it was
//! before.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

use super::draw::draw;
use super::poll::Poll;
use super::state::{Flow, State};
use super::watch::Watch;

/// Longest that a look waits to be shown, or a signal to be heard.
const TICK: Duration = Duration::from_millis(100);

/// Shows the server until a key or a signal says stop.
pub(super) fn run(server: &str, interval: Duration) -> Result<()> {
    let stopped = signals();
    let mut terminal =
        ratatui::try_init().context("the terminal cannot be used: --once prints plain text")?;
    let shown = show(&mut terminal, server, interval, &stopped);
    ratatui::restore();
    shown
}

fn show(
    terminal: &mut DefaultTerminal,
    server: &str,
    interval: Duration,
    stopped: &Receiver<()>,
) -> Result<()> {
    let poll = Poll::start(server, interval);
    let (mut watch, mut state) = (Watch::new(server), State::default());
    let mut view = watch.view();
    terminal.draw(|frame| draw(frame, &view, &state))?;
    while stopped.try_recv().is_err() {
        let mut is_new = false;
        if let Ok(look) = poll.looks.try_recv() {
            match look {
                Ok(look) => watch.saw(look),
                Err(why) => watch.missed(why, now_ms()),
            }
            (view, is_new) = (watch.view(), true);
        }
        if event::poll(TICK)? {
            is_new = true;
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && state.key(key, &view) == Flow::Quit
            {
                return Ok(());
            }
        }
        if is_new {
            terminal.draw(|frame| draw(frame, &view, &state))?;
        }
    }
    Ok(())
}

/// Hears of the signals that would leave the terminal as it must not stay.
fn signals() -> Receiver<()> {
    let (sender, stopped) = sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        let heard = runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            std::io::Result::Ok(())
        });
        if heard.is_ok() {
            // Nobody listens any more if the user was faster.
            let _ = sender.send(());
        }
    });
    stopped
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64)
}
