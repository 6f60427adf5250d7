//! Loads side by side, and loads that must be alone.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Who loads now.
#[derive(Default)]
pub(super) struct LoadTurns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    loads: usize,
    /// Whether the only load wants to be alone.
    is_exclusive: bool,
}

/// The right to load, until it is dropped.
pub(super) struct LoadTurn(Arc<LoadTurns>);

impl LoadTurns {
    /// Waits until a load may begin; with `alone`, until no other one is in progress.
    pub(super) fn wait(self: &Arc<Self>, alone: bool) -> LoadTurn {
        let mut state = self.state.lock();
        while state.is_exclusive || (alone && state.loads > 0) {
            self.changed.wait(&mut state);
        }
        state.loads += 1;
        state.is_exclusive = alone;
        LoadTurn(self.clone())
    }
}

impl Drop for LoadTurn {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.loads -= 1;
        state.is_exclusive = false;
        drop(state);
        self.0.changed.notify_all();
    }
}
