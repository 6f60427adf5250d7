//! Every version of every model.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::{NONE, ago, bytes, millis};
use crate::listing::Listing;
use crate::page::{Page, Part};
use crate::section::{Section, model_path};

/// The versions that there are.
#[derive(Debug)]
pub struct Models {
    /// When this was looked at, in Unix milliseconds.
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
    /// Where it stands.
    pub state: VersionState,
    /// Whether it answers requests that name no version.
    pub is_default: bool,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What runs it; empty where it is not loaded.
    pub engine: &'static str,
    /// What it takes of memory.
    pub memory_bytes: Option<u64>,
    /// How long it took to load, in milliseconds.
    pub load_ms: Option<f64>,
    /// When it was loaded, in Unix milliseconds.
    pub loaded_ms: Option<u64>,
}

/// Where a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionState {
    /// The state's name, as in the repository index.
    pub name: &'static str,
    /// Why, where there is a reason.
    pub reason: String,
}

impl VersionState {
    /// How good it is.
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
                    p.empty { @if self.listing.query.is_empty() { "There is no model yet." } @else { "No model has this in its name." } }
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
                    th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Names" } th scope="col" { "Engine" }
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
            td data-label="Names" {
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
