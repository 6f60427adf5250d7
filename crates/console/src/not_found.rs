//! The page for an address that does not exist.

use maud::html;

use crate::page::{Page, Part};
use crate::section::Section;

/// A page that says what does not exist.
pub fn not_found(what: &str) -> Page {
    let body = html! {
        div.head { h1 { "Not found" } }
        section.card {
            p.break { (what) }
            p { a href=(Section::Home.path()) { "Home" } " · " a href=(Section::Models.path()) { "Models" } }
        }
    };
    Page {
        title: "Not found".to_owned(),
        section: None,
        parts: vec![Part::fixed(body)],
    }
}
