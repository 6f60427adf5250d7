//! What a server that follows the registry knows of it, and how it learns what changed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_store::{Alias, Event, Position, VersionState};

use crate::{Error, ErrorCode, Reference, Registry, Result, Selector, VersionRecord};

/// Changes that are taken in one by one. After more of them, everything is read again.
const MAX_CHANGES: i64 = 200;

/// Everything that can be served, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last change that it has seen; later ones may be in it too.
    pub change: i64,
    /// Where the history of the registry stood then.
    #[serde(default)]
    pub position: Position,
    /// The database that it was read from, without a password.
    #[serde(default)]
    pub database: String,
    /// The versions that are not deleted, by model and number.
    pub versions: Vec<VersionRecord>,
    /// The aliases, by model and name.
    pub aliases: Vec<Alias>,
}

impl Snapshot {
    /// The version that a reference means.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] says what there is instead.
    pub fn resolve(&self, reference: &Reference) -> Result<&VersionRecord> {
        let model = reference.model.as_str();
        let mut versions = self
            .versions
            .iter()
            .filter(|version| version.model == model)
            .peekable();
        if versions.peek().is_none() {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!("there is no model \"{model}\" in the registry"),
            ));
        }
        let number = match &reference.selector {
            Selector::Number(number) => Some(*number),
            Selector::Alias(alias) => Some(self.alias(model, alias)?),
            Selector::Latest => None,
        };
        let found = match number {
            Some(number) => versions.find(|version| version.number == number),
            // Versions are in the order of their numbers, so that the last one has the highest.
            None => versions.rfind(|version| version.state == VersionState::Ready),
        };
        found.ok_or_else(|| self.no_version(reference))
    }

    fn no_version(&self, reference: &Reference) -> Error {
        let model = reference.model.as_str();
        let numbers: Vec<String> = self
            .versions
            .iter()
            .filter(|version| version.model == model)
            .map(|version| version.number.to_string())
            .collect();
        let problem = format!(
            "there is no {reference}; the model has the versions {}",
            numbers.join(", ")
        );
        Error::new(ErrorCode::NotFound, problem)
    }

    fn alias(&self, model: &str, name: &str) -> Result<i64> {
        self.aliases_of(model)
            .find(|alias| alias.name == name)
            .map(|alias| alias.version)
            .ok_or_else(|| {
                let names: Vec<&str> = self
                    .aliases_of(model)
                    .map(|alias| alias.name.as_str())
                    .collect();
                let have = if names.is_empty() {
                    "no aliases".to_owned()
                } else {
                    format!("the aliases {}", names.join(", "))
                };
                Error::new(
                    ErrorCode::NotFound,
                    format!("there is no {model}@{name}; the model has {have}"),
                )
            })
    }

    fn aliases_of<'a>(&'a self, model: &'a str) -> impl Iterator<Item = &'a Alias> {
        self.aliases
            .iter()
            .filter(move |alias| alias.model == model)
    }
}

impl Registry {
    /// Everything that can be served, for a server that follows the registry. It saves it in
    /// the [cache](Cache::keep_snapshot), for a start without the registry.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        // The change is read first: what commits in between is seen now, and looked at once more
        // later. Aliases are read before versions, so that what they point at is there.
        let position = self.store.position().await?;
        let aliases = self.store.aliases(None).await?;
        let versions = self
            .store
            .versions(None)
            .await?
            .into_iter()
            .map(VersionRecord::lenient);
        let mut snapshot = Snapshot {
            change: position.change,
            position,
            database: self.store.shown().to_owned(),
            versions: versions.collect::<Result<_>>()?,
            aliases,
        };
        snapshot.sort();
        Ok(snapshot)
    }

    /// Brings a snapshot up to date by reading only what changed since. Gives `None` where that
    /// cannot be told from the events, so that everything must be read again.
    ///
    /// # Errors
    /// [`Error`] of the database.
    pub async fn update(&self, known: &Snapshot, now: &Position) -> Result<Option<Snapshot>> {
        let Some(events) = self.events_between(&known.position, now).await? else {
            return Ok(None);
        };
        let mut updated = known.clone();
        let mut changed: BTreeSet<(String, i64)> = BTreeSet::new();
        for model in events
            .iter()
            .map(|event| &event.model)
            .collect::<BTreeSet<_>>()
        {
            // Before the versions, so that what they point at is there.
            let aliases = self.store.aliases(Some(model)).await?;
            let targets = aliases.iter().map(|alias| alias.version);
            changed.extend(targets.map(|version| (model.clone(), version)));
            updated.replace_aliases(model, aliases);
        }
        for event in &events {
            changed.extend(event.version.map(|version| (event.model.clone(), version)));
        }
        for (model, number) in changed {
            let version = self.store.version(&model, number).await?;
            let record = version
                .filter(|version| version.state != VersionState::Deleted)
                .map(VersionRecord::lenient)
                .transpose()?;
            updated.replace_version(&model, number, record);
        }
        updated.change = now.change;
        updated.position = now.clone();
        Ok(Some(updated))
    }

    /// What happened between two positions, if they are of one history and not too far apart.
    async fn events_between(&self, known: &Position, now: &Position) -> Result<Option<Vec<Event>>> {
        let distance = now.change - known.change;
        if known.registry_id != now.registry_id || !(1..=MAX_CHANGES).contains(&distance) {
            return Ok(None);
        }
        // A database that was restored from a backup has other events under the same numbers.
        if self.store.event_fingerprint(known.change).await? != Some(known.latest_event) {
            return Ok(None);
        }
        let events = self.store.events_since(known.change, distance).await?;
        let is_whole = i64::try_from(events.len()) == Ok(distance);
        Ok(is_whole.then_some(events))
    }
}

impl Snapshot {
    fn replace_aliases(&mut self, model: &str, aliases: Vec<Alias>) {
        let start = self
            .aliases
            .partition_point(|alias| alias.model.as_str() < model);
        let end = self
            .aliases
            .partition_point(|alias| alias.model.as_str() <= model);
        self.aliases.splice(start..end, aliases);
    }

    fn replace_version(&mut self, model: &str, number: i64, record: Option<VersionRecord>) {
        let place = self
            .versions
            .binary_search_by(|known| (known.model.as_str(), known.number).cmp(&(model, number)));
        match (place, record) {
            (Ok(place), Some(record)) => self.versions[place] = record,
            (Ok(place), None) => drop(self.versions.remove(place)),
            (Err(place), Some(record)) => self.versions.insert(place, record),
            (Err(_), None) => {}
        }
    }

    /// In the order of the rest of this module: PostgreSQL's own depends on its locale.
    fn sort(&mut self) {
        self.versions
            .sort_by(|one, two| (&one.model, one.number).cmp(&(&two.model, two.number)));
        self.aliases
            .sort_by(|one, two| (&one.model, &one.name).cmp(&(&two.model, &two.name)));
    }
}
