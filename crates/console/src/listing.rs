//! Long lists: filter and pages.

use maud::{Markup, html};

use crate::format::{count, segment};

/// A list that is filtered and shown page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What names must contain; everything if empty.
    pub query: String,
    /// Which page, from 1.
    pub page: usize,
    /// How many there are on all pages.
    pub total: usize,
    size: usize,
}

impl Listing {
    /// A list with `size` entries a page, at least one.
    pub fn new(query: String, page: usize, size: usize) -> Self {
        Self {
            query,
            page: page.max(1),
            total: 0,
            size: size.max(1),
        }
    }

    /// Whether a name passes the filter.
    pub fn matches(&self, name: &str) -> bool {
        name.contains(&self.query)
    }

    /// The entries of this page, out of all that pass the filter. A page number beyond the end shows
    /// the last page.
    pub fn page_of<T>(&mut self, all: Vec<T>) -> Vec<T> {
        self.total = all.len();
        // The list may have become shorter since the link was made.
        self.page = self.page.min(self.pages());
        all.into_iter()
            .skip((self.page - 1) * self.size)
            .take(self.size)
            .collect()
    }

    fn pages(&self) -> usize {
        self.total.div_ceil(self.size).max(1)
    }

    /// The form of the filter.
    pub(crate) fn filter(&self, path: &str, label: &str) -> Markup {
        html! {
            form.filter method="get" action=(path) role="search" {
                div {
                    label for="q" { (label) }
                    input #q type="search" name="q" value=(self.query) maxlength="128" autocomplete="off";
                }
                button type="submit" { "Filter" }
                @if !self.query.is_empty() { a href=(path) { "Show all" } }
            }
        }
    }

    /// Whether the list needs a filter: a few entries do not.
    pub(crate) fn is_long(&self) -> bool {
        self.total > 8 || !self.query.is_empty() || self.page > 1
    }

    fn address(&self, path: &str, page: usize) -> String {
        format!("{path}?q={}&page={page}", segment(&self.query))
    }

    /// Links to the previous and the next page.
    pub(crate) fn pager(&self, path: &str) -> Markup {
        let first = (self.page - 1) * self.size + 1;
        let last = (self.page * self.size).min(self.total);
        html! {
            @if self.pages() > 1 {
                nav.pager aria-label="Pages" {
                    @if self.page > 1 { a href=(self.address(path, self.page - 1)) rel="prev" { "← Previous" } }
                    span { (count(first as u64)) " to " (count(last as u64)) " of " (count(self.total as u64)) }
                    @if self.page < self.pages() { a href=(self.address(path, self.page + 1)) rel="next" { "Next →" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_and_lead_to_one_another() {
        let mut listing = Listing::new("a&b".to_owned(), 2, 10);
        assert_eq!(
            listing.page_of((0..25).collect()),
            (10..20).collect::<Vec<_>>()
        );
        let pager = listing.pager("/x").into_string();
        assert!(
            pager.contains("/x?q=a%26b&amp;page=1")
                && pager.contains("page=3")
                && pager.contains("11 to 20 of 25")
        );
        let mut beyond = Listing::new(String::new(), 9, 10);
        assert_eq!(
            beyond.page_of((0..25).collect()),
            (20..25).collect::<Vec<_>>()
        );
        assert_eq!(beyond.page, 3);
        assert!(
            Listing::new(String::new(), 0, 10)
                .page_of(Vec::<u8>::new())
                .is_empty()
        );
    }
}
