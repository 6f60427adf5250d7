//! The terminal: keys and snapshots come in, frames go out. Restores the terminal however it ends,
//! and ends with the terminal.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

use super::draw::draw;
use super::history::History;
use super::poll::Poll;
use super::state::{Flow, State};
use crate::client::now_ms;

/// Longest that a snapshot or a signal waits.
const TICK: Duration = Duration::from_millis(100);
/// How long the thread that draws has to end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// Shows the server until a key or a signal ends it.
pub(super) fn run(server: &str, interval: Duration) -> Result<()> {
    let stopped = watch_for_end();
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
    let poll = Poll::start(server, interval)?;
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

/// Receives a message when a signal or the end of the terminal ends the program. Without a handler,
/// signals would end the process and leave the terminal in raw mode.
fn watch_for_end() -> Receiver<()> {
    let (sender, stopped) = sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        if runtime.block_on(wait_for_end()).is_err() {
            return;
        }
        // Nobody receives it if a key ended the program first.
        let _ = sender.send(());
        thread::sleep(GRACE);
        exit_without_the_terminal();
    });
    stopped
}

async fn wait_for_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
        () = terminal_hung_up() => {}
    }
    Ok(())
}

/// Returns when the terminal is gone; never if there is no way to see that.
async fn terminal_hung_up() {
    // Where crossterm reads keys from.
    let terminal = match std::io::stdin().is_terminal() {
        true => std::io::stdin().as_fd().try_clone_to_owned(),
        false => File::open("/dev/tty").map(OwnedFd::from),
    };
    let Ok(terminal) = terminal else {
        return std::future::pending().await;
    };
    // SAFETY: an `OwnedFd` stays the same open file until it is dropped, which `AsyncFd` does last.
    let watched = unsafe { AsyncFd::register_with_interest(terminal, Interest::READABLE) };
    let Ok(watched) = watched else {
        return std::future::pending().await;
    };
    while let Ok(mut guard) = watched.readable().await {
        if guard.ready().is_read_closed() {
            return;
        }
        // A key: the other thread reads it.
        guard.clear_ready();
    }
}

/// The thread that draws did not end: it reads from a terminal that is gone, which crossterm tries
/// for ever, or writes to one that takes nothing. It cannot be waited for.
fn exit_without_the_terminal() {
    let (sender, restored) = sync_channel(1);
    thread::spawn(move || {
        ratatui::restore();
        let _ = sender.send(());
    });
    let _ = restored.recv_timeout(GRACE);
    std::process::exit(0);
}
