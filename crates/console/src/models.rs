//! The page of models with all versions.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::{NONE, ago, bytes, millis};
use crate::listing::Listing;
use crate::page::{Page, Part};
use crate::section::{Section, model_path};

/// The page of models.
#[derive(Debug)]
pub struct Models {
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// The versions of this page.
    pub versions: Vec<VersionRow>,
    /// All of them.
    pub listing: Listing,
}

/// A version, or a model that has none.
#[derive(Clone, Debug)]
pub struct VersionRow {
    /// The model's name.
    pub model: String,
    /// The version's number; empty where none is known.
    pub version: String,
    /// Its state.
    pub state: VersionState,
    /// Whether it is the default version.
    pub is_default: bool,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Its engine; empty if it is not loaded.
    pub engine: &'static str,
    /// The memory that it uses.
    pub memory_bytes: Option<u64>,
    /// How long it took to load, in milliseconds.
    pub load_ms: Option<f64>,
    /// When it was loaded, in Unix milliseconds.
    pub loaded_ms: Option<u64>,
}

/// The state of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionState {
    /// The state's name, as in the repository index.
    pub name: &'static str,
    /// The reason, if there is one.
    pub reason: String,
}

impl VersionState {
    /// The tone of the state.
    pub fn tone(&self) -> Tone {
        match self.name {
            "ready" => Tone::Good,
            "failed" => Tone::Bad,
            "stale" => Tone::Notice,
            "absent" | "unloaded" => Tone::Off,
            _ => Tone::Busy,
        }
    }

    pub(crate) fn badge(&self) -> Markup {
        badge(self.tone(), self.name)
    }
}

impl Models {
    /// The page.
    pub fn page(&self) -> Page {
        let path = Section::Models.path();
        let head = html! {
            div.head { h1 { "Models" } }
            @if self.listing.is_long() { (self.listing.filter(path, "Model")) }
        };
        Page {
            title: "Models".to_owned(),
            section: Some(Section::Models),
            parts: vec![Part::fixed(head), Part::live("models", self.table())],
        }
    }

    fn table(&self) -> Markup {
        html! {
            section #models.card aria-label="Models" {
                @if self.versions.is_empty() {
                    p.empty { @if self.listing.query.is_empty() { "No models yet." } @else { "No model matches the filter." } }
                } @else {
                    (rows(&self.versions, self.now_ms, true))
                    (self.listing.pager(Section::Models.path()))
                }
            }
        }
    }
}

/// Versions as a table, with the name of their model or without.
pub(crate) fn rows(versions: &[VersionRow], now_ms: u64, is_named: bool) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    @if is_named { th scope="col" { "Model" } }
                    th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Aliases" } th scope="col" { "Engine" }
                    th.num scope="col" { "Memory" } th.num scope="col" { "Load time" } th scope="col" { "Loaded" }
                }
            }
            tbody { @for version in versions { (row(version, now_ms, is_named)) } }
        }
    }
}

fn row(version: &VersionRow, now_ms: u64, is_named: bool) -> Markup {
    html! {
        tr {
            @if is_named { td.name { a.strong href=(model_path(&version.model)) { (version.model) } } }
            td.nowrap data-label="Version" { @if version.version.is_empty() { (NONE) } @else { (version.version) } }
            td data-label="State" {
                div {
                    (version.state.badge())
                    @if !version.state.reason.is_empty() { div.small.soft.break { (version.state.reason) } }
                }
            }
            td data-label="Aliases" {
                span {
                    @if version.is_default { span.tag { "default" } " " }
                    @for alias in &version.aliases { span.tag { (alias) } " " }
                }
            }
            td data-label="Engine" { (version.engine) }
            td.num data-label="Memory" { (version.memory_bytes.map_or_else(|| NONE.to_owned(), bytes)) }
            td.num data-label="Load time" { (version.load_ms.map_or_else(|| NONE.to_owned(), millis)) }
            td.nowrap data-label="Loaded" { @match version.loaded_ms { Some(at_ms) => (ago(at_ms, now_ms)), None => (NONE) } }
        }
    }
}
