//! Every version of every model.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tidegate_console::{Listing, Models, VersionRow};
use tidegate_serving::{IndexEntry, Serving, Version};

use super::state::version_state;
use crate::console::Console;
use crate::console::answer::answer;
use crate::console::page_query::{Asked, ListQuery, asked};
use crate::console::visitor::Visitor;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    visitor: Visitor,
) -> Response {
    let listing = asked(query).listing();
    answer(console, &visitor, move |console, now_ms| {
        Ok(models(&console.front_end.serving, listing.clone(), now_ms).page())
    })
    .await
}

fn models(serving: &Serving, mut listing: Listing, now_ms: u64) -> Models {
    let mut entries: Vec<IndexEntry> = serving
        .known()
        .into_iter()
        .filter(|entry| listing.matches(&entry.name))
        .collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name).then(newest_first(one, other)));
    let loaded = loaded(serving);
    let rows = listing.page_of(entries).into_iter().map(|entry| {
        let version = loaded
            .get(&(entry.name.clone(), entry.version.clone()))
            .cloned();
        row(entry, version.as_deref(), now_ms)
    });
    Models {
        now_ms,
        versions: rows.collect(),
        listing,
    }
}

pub(super) fn newest_first(one: &IndexEntry, other: &IndexEntry) -> std::cmp::Ordering {
    number(other).cmp(&number(one))
}

/// The number of a version; a name that is not a number comes last.
fn number(entry: &IndexEntry) -> u64 {
    entry.version.parse().unwrap_or(0)
}

fn loaded(serving: &Serving) -> HashMap<(String, String), Arc<Version>> {
    let models = serving.models().all();
    let versions = models.iter().flat_map(|model| model.versions());
    versions
        .map(|version| {
            (
                (version.model().to_owned(), version.number().to_owned()),
                version.clone(),
            )
        })
        .collect()
}

/// A version as the index has it, with what is known only of a loaded one.
pub(super) fn row(entry: IndexEntry, version: Option<&Version>, now_ms: u64) -> VersionRow {
    VersionRow {
        state: version_state(&entry.state),
        model: entry.name,
        version: entry.version,
        is_default: entry.is_default,
        aliases: entry.aliases,
        engine: version.map_or("", Version::engine),
        memory_bytes: entry.memory_bytes,
        load_ms: version.map(|version| version.load_time().as_secs_f64() * 1e3),
        // The clock may have been set back since the version was loaded.
        loaded_ms: version.map(|version| version.loaded_ms().min(now_ms)),
    }
}
