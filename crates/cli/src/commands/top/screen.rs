//! The terminal: keys and snapshots come in, frames go out. Restores the terminal however it ends.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

use super::draw::draw;
use super::history::History;
use super::poll::Poll;
use super::state::{Flow, State};
use crate::client::now_ms;

/// Longest that a snapshot or a signal waits.
const TICK: Duration = Duration::from_millis(100);

/// Shows the server until a key or a signal ends it.
pub(super) fn run(server: &str, interval: Duration) -> Result<()> {
    let stopped = stop_signals();
    let mut terminal =
        ratatui::try_init().context("cannot use the terminal: --once prints plain text")?;
    let shown = show(&mut terminal, server, interval, &stopped);
    // Before an error is returned, which is then printed.
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
    let (mut history, mut state) = (History::new(server), State::default());
    let mut view = history.view();
    terminal.draw(|frame| draw(frame, &view, &state))?;
    while stopped.try_recv().is_err() {
        let mut is_changed = false;
        if let Ok(polled) = poll.snapshots.try_recv() {
            match polled {
                Ok(snapshot) => history.record_snapshot(snapshot),
                Err(why) => history.record_failure(why, now_ms()),
            }
            (view, is_changed) = (history.view(), true);
        }
        if event::poll(TICK)? {
            is_changed = true;
            if let Event::Key(key) = event::read()?
                // Some terminals report the release of a key too.
                && key.kind != KeyEventKind::Release
                && state.key(key, &view) == Flow::Quit
            {
                return Ok(());
            }
        }
        // Drawing the same frame at every tick would cost processor time.
        if is_changed {
            terminal.draw(|frame| draw(frame, &view, &state))?;
        }
    }
    Ok(())
}

/// Receives a message at SIGTERM or SIGHUP. Without a handler, these would end the process and leave
/// the terminal in raw mode.
fn stop_signals() -> Receiver<()> {
    let (sender, stopped) = sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(wait_for_signal()).is_ok() {
            // Nobody receives it if a key ended the program first.
            let _ = sender.send(());
        }
    });
    stopped
}

async fn wait_for_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
