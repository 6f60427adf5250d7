//! The query of a page's address.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use tidegate_console::Listing;

/// Rows of a page of a list.
const ROWS: usize = 50;
/// Longest text that is searched for, in characters.
pub(super) const MAX_QUERY: usize = 256;

/// A query, or none if it cannot be read: a mistyped address shows the page all the same.
pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;

pub(super) fn asked<T: Default>(query: Asked<T>) -> T {
    query.map(|Query(query)| query).unwrap_or_default()
}

/// The text to search for in a list, and the number of its page.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    q: String,
    page: usize,
}

impl ListQuery {
    /// The wanted part of a list.
    pub(super) fn listing(self) -> Listing {
        let text = self.q.trim().chars().take(MAX_QUERY).collect();
        Listing::new(text, self.page, ROWS)
    }
}
