//! The page of a model: signature, versions, their origin, and events.

use maud::{Markup, html};
use tidegate_observe::Event;

use crate::event_table;
use crate::models::{self, VersionRow};
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path, try_path};

/// The page of a model.
#[derive(Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// One line for people, from its bundle.
    pub description: String,
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// Its versions, the newest first.
    pub versions: Vec<VersionRow>,
    /// Which version's signature is shown; empty if none is loaded.
    pub shown: String,
    /// Its inputs.
    pub inputs: Vec<Tensor>,
    /// Its outputs.
    pub outputs: Vec<Tensor>,
    /// Origin and details of each version.
    pub details: Vec<VersionDetail>,
    /// Its events, the newest first.
    pub events: Vec<Event>,
}

/// An input or output.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub datatype: String,
    /// Its shape, -1 for any.
    pub shape: String,
    /// Anything else: whether it is optional, its columns.
    pub note: String,
}

/// Origin and details of a version.
#[derive(Clone, Debug)]
pub struct VersionDetail {
    /// Its number.
    pub version: String,
    /// Names and values.
    pub facts: Vec<(&'static str, String)>,
}

impl Model {
    /// The page.
    pub fn page(&self) -> Page {
        Page {
            title: format!("{} (model)", self.name),
            section: Some(Section::Models),
            parts: vec![
                Part::fixed(self.head()),
                Part::live("versions", self.versions()),
                Part::live("signature", self.signature()),
                Part::live("details", self.details()),
                Part::live("events", self.events()),
            ],
        }
    }

    fn head(&self) -> Markup {
        html! {
            div.head {
                h1 { (self.name) }
                span.soft { "model" }
                span.links { a href=(endpoint_path(&self.name)) { "Endpoint" } a href=(try_path(&self.name)) { "Try it" } }
            }
            @if !self.description.is_empty() { p.soft.break { (self.description) } }
        }
    }

    fn versions(&self) -> Markup {
        html! { section #versions.card { h2 { "Versions" } (models::rows(&self.versions, self.now_ms, false)) } }
    }

    fn signature(&self) -> Markup {
        html! {
            section #signature.card {
                div.title { h2 { "Signature" } @if !self.shown.is_empty() { span.soft { "of version " (self.shown) } } }
                @if self.shown.is_empty() { p.empty { "No version is loaded." } }
                @else {
                    table.cards {
                        thead { tr { th scope="col" { "" span.hidden { "Direction" } } th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" { "Shape" } th scope="col" { "Note" } } }
                        tbody {
                            @for (side, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
                                @for tensor in tensors {
                                    tr {
                                        td data-label="Direction" { span.tag { (side) } }
                                        td.break.mono data-label="Name" { (tensor.name) }
                                        td.mono data-label="Type" { (tensor.datatype) }
                                        td.mono data-label="Shape" { (tensor.shape) }
                                        td.break data-label="Note" { (tensor.note) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn details(&self) -> Markup {
        html! {
            // Hidden instead of left out: an update needs an element of this id to take the place
            // of.
            section #details.card hidden[self.details.is_empty()] {
                h2 { "Origin of the versions" }
                div.columns {
                    @for detail in &self.details {
                        div {
                            h3 { "Version " (detail.version) }
                            dl.facts { @for (name, value) in &detail.facts { dt { (name) } dd { (value) } } }
                        }
                    }
                }
            }
        }
    }

    fn events(&self) -> Markup {
        html! { section #events.card { h2 { "Events" } (event_table::table(&self.events, self.now_ms, true)) } }
    }
}
