//! What the user has chosen to see.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::view::{Endpoint, View};

/// By what endpoints are sorted.
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

    /// What it is called.
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

    /// The largest first, but for names.
    fn compare(self, one: &Endpoint, other: &Endpoint) -> Ordering {
        let by = |figure: fn(&Endpoint) -> f64| figure(other).total_cmp(&figure(one));
        let order = match self {
            Self::Name => Ordering::Equal,
            Self::Rate => by(|endpoint| endpoint.rate),
            Self::P99 => by(|endpoint| endpoint.p99_ms.unwrap_or(0.0)),
            Self::Failing => by(|endpoint| endpoint.failing),
            Self::Waiting => by(|endpoint| endpoint.waiting),
        };
        order.then_with(|| one.model.cmp(&other.model))
    }
}

/// What lies over the list of endpoints.
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
    /// The model that is chosen; the first one if there is none of that name.
    chosen: String,
}

/// What a key means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Go,
    Quit,
}

impl State {
    /// The endpoints in the order that the user wants.
    pub(super) fn sorted<'a>(&self, view: &'a View) -> Vec<&'a Endpoint> {
        let mut endpoints: Vec<&Endpoint> = view.endpoints.iter().collect();
        endpoints.sort_by(|one, other| self.sort.compare(one, other));
        endpoints
    }

    /// Where the chosen one is among them.
    pub(super) fn selected(&self, sorted: &[&Endpoint]) -> usize {
        sorted
            .iter()
            .position(|endpoint| endpoint.model == self.chosen)
            .unwrap_or(0)
    }

    /// Does what a key asks for.
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
        Flow::Go
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
            assert_eq!(press(&mut state, code), Flow::Go);
            assert_eq!(state.page, page, "{code:?}");
        }
        assert_eq!(press(&mut state, KeyCode::Char('q')), Flow::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(interrupt, &View::default()), Flow::Quit);
    }
}
