//! What the user has chosen, and what keys do.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::view::{Endpoint, View};

/// The order of the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Rate,
    P99,
    Failing,
    Waiting,
}

impl Sort {
    const ALL: [Self; 5] = [
        Self::Name,
        Self::Rate,
        Self::P99,
        Self::Failing,
        Self::Waiting,
    ];

    /// The name on the screen.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::P99 => "P99",
            Self::Failing => "errors",
            Self::Waiting => "queue",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// The number that endpoints are sorted by; equal for all when sorting by name.
    fn value(self, endpoint: &Endpoint) -> f64 {
        match self {
            Self::Name => 0.0,
            Self::Rate => endpoint.rate,
            Self::P99 => endpoint.p99_ms.unwrap_or(0.0),
            Self::Failing => endpoint.failing,
            Self::Waiting => endpoint.waiting,
        }
    }

    /// Names ascending, numbers descending.
    fn compare(self, one: &Endpoint, other: &Endpoint) -> Ordering {
        self.value(other)
            .total_cmp(&self.value(one))
            .then_with(|| one.model.cmp(&other.model))
    }
}

/// The page that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    List,
    Detail,
    Help,
}

/// What the user has chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) sort: Sort,
    pub(super) page: Page,
    /// The name of the chosen model. Without such a model, the first one counts as chosen.
    chosen: String,
}

/// Whether the program goes on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Quit,
}

impl State {
    /// The endpoints in the chosen order.
    pub(super) fn sorted<'a>(&self, view: &'a View) -> Vec<&'a Endpoint> {
        let mut endpoints: Vec<&Endpoint> = view.endpoints.iter().collect();
        endpoints.sort_by(|one, other| self.sort.compare(one, other));
        endpoints
    }

    /// The index of the chosen endpoint.
    pub(super) fn selected(&self, sorted: &[&Endpoint]) -> usize {
        sorted
            .iter()
            .position(|endpoint| endpoint.model == self.chosen)
            .unwrap_or(0)
    }

    /// Handles a key.
    pub(super) fn key(&mut self, key: KeyEvent, view: &View) -> Flow {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Flow::Quit;
            }
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Char('?' | 'h') => self.page = self.toggled(Page::Help),
            KeyCode::Enter => self.page = self.toggled(Page::Detail),
            KeyCode::Esc => self.page = Page::List,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Down | KeyCode::Char('j') => self.choose(view, 1),
            KeyCode::Up | KeyCode::Char('k') => self.choose(view, -1),
            KeyCode::PageDown => self.choose(view, 10),
            KeyCode::PageUp => self.choose(view, -10),
            KeyCode::Home => self.choose(view, isize::MIN),
            KeyCode::End => self.choose(view, isize::MAX),
            _ => {}
        }
        Flow::Continue
    }

    fn toggled(&self, page: Page) -> Page {
        if self.page == page { Page::List } else { page }
    }

    fn choose(&mut self, view: &View, step: isize) {
        let sorted = self.sorted(view);
        let at = self
            .selected(&sorted)
            .saturating_add_signed(step)
            .min(sorted.len().saturating_sub(1));
        if let Some(endpoint) = sorted.get(at) {
            self.chosen.clone_from(&endpoint.model);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let endpoint = |model: &str, rate| Endpoint {
            model: model.to_owned(),
            rate,
            ..Endpoint::default()
        };
        View {
            endpoints: vec![endpoint("a", 1.0), endpoint("b", 3.0), endpoint("c", 2.0)],
            ..View::default()
        }
    }

    fn press(state: &mut State, code: KeyCode) -> Flow {
        state.key(KeyEvent::new(code, KeyModifiers::NONE), &view())
    }

    fn chosen(state: &State) -> String {
        let view = view();
        let sorted = state.sorted(&view);
        sorted[state.selected(&sorted)].model.clone()
    }

    #[test]
    fn the_chosen_model_stays_chosen_however_it_is_sorted() {
        let mut state = State::default();
        assert_eq!(chosen(&state), "a");
        press(&mut state, KeyCode::Down);
        assert_eq!(chosen(&state), "b");
        press(&mut state, KeyCode::Char('s'));
        let view = view();
        let sorted = state.sorted(&view);
        let order: Vec<&str> = sorted
            .iter()
            .map(|endpoint| endpoint.model.as_str())
            .collect();
        assert_eq!((order, state.selected(&sorted)), (vec!["b", "c", "a"], 0));
        press(&mut state, KeyCode::End);
        press(&mut state, KeyCode::Down);
        assert_eq!(chosen(&state), "a", "there is nothing below the last");
        press(&mut state, KeyCode::Home);
        press(&mut state, KeyCode::Up);
        assert_eq!(chosen(&state), "b");
        for _ in 0..Sort::ALL.len() - 1 {
            press(&mut state, KeyCode::Char('s'));
        }
        assert_eq!(state.sort, Sort::Name);
    }

    #[test]
    fn pages_open_and_close_and_q_ends_it() {
        let mut state = State::default();
        for (code, page) in [
            (KeyCode::Enter, Page::Detail),
            (KeyCode::Char('?'), Page::Help),
            (KeyCode::Char('?'), Page::List),
            (KeyCode::Enter, Page::Detail),
            (KeyCode::Esc, Page::List),
        ] {
            assert_eq!(press(&mut state, code), Flow::Continue);
            assert_eq!(state.page, page, "{code:?}");
        }
        assert_eq!(press(&mut state, KeyCode::Char('q')), Flow::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(interrupt, &View::default()), Flow::Quit);
    }
}
