//! The list of all versions and models, with their states.

use super::{IndexEntry, Model, ModelState, Models};
use crate::source::{self, FoundModel};

impl Models {
    /// As [`Models::index`], without models that came into the folders since. Reads no file.
    pub fn known(&self) -> Vec<IndexEntry> {
        // Cloned, as requests for unknown models wait for this lock.
        let states = self.states.lock().clone();
        let loaded = self.loaded.load();
        let mut index = Vec::new();
        for (name, state) in &states {
            match loaded.get(name) {
                Some(model) => index.extend(loaded_entries(model, state)),
                None => index.push(IndexEntry::new(name.clone(), "", state.clone())),
            }
        }
        index
    }

    /// The versions that are loaded from folders, and the models in folders that are not loaded,
    /// with their states. Reads the folders.
    pub fn index(&self) -> Vec<IndexEntry> {
        let mut found: Vec<FoundModel> = Vec::new();
        let mut has_read_all = true;
        for root in &self.roots {
            match source::find(root) {
                Ok(models) => found.extend(models),
                Err(_) => has_read_all = false,
            }
        }
        if has_read_all {
            self.forget_gone(&found);
        }
        let mut index = self.known();
        for model in found {
            if !index.iter().any(|entry| entry.name == model.name) {
                index.push(unloaded_entry(model));
            }
        }
        index.sort_by(|a, b| a.name.cmp(&b.name));
        index
    }
}

fn loaded_entries(model: &Model, state: &ModelState) -> impl Iterator<Item = IndexEntry> {
    model.versions().map(|version| IndexEntry {
        memory_bytes: Some(version.memory_bytes()),
        is_default: model.is_default(version),
        ..IndexEntry::new(model.name.clone(), version.number(), state.clone())
    })
}

fn unloaded_entry(model: FoundModel) -> IndexEntry {
    let plans = model.versions.unwrap_or_default();
    let newest = plans.last().map(|plan| plan.number.to_string());
    IndexEntry::new(model.name, &newest.unwrap_or_default(), ModelState::Absent)
}
