//! Which versions of a model are served, and under which names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidegate_registry::{Alias, VersionRecord, VersionState};

/// Stands for the default version: the one that answers requests without a version.
pub(super) const DEFAULT_NAME: &str = "";
/// The alias of the version that becomes the default version.
const CHAMPION: &str = "champion";

/// Which versions of a model are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VersionPolicy {
    /// Those that an alias points at. Without the alias `champion` the newest one too.
    #[default]
    Aliases,
    /// This many of the newest.
    Latest(usize),
    /// All that are not deprecated, and those that an alias points at.
    All,
    /// These.
    Numbers(BTreeSet<u64>),
}

impl FromStr for VersionPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let policy = match text {
            "aliases" => Some(Self::Aliases),
            "latest" => Some(Self::Latest(1)),
            "all" => Some(Self::All),
            _ => match text.strip_prefix("latest:") {
                Some(count) => latest(count),
                None => listed(text),
            },
        };
        policy.ok_or_else(|| {
            format!(
                "\"{text}\" is not a version policy; write aliases, latest, latest:N, all, or numbers such as 3,5"
            )
        })
    }
}

fn latest(count: &str) -> Option<VersionPolicy> {
    // `latest:0` would serve nothing, which is surely not what is meant.
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some(VersionPolicy::Latest(count))
}

fn listed(text: &str) -> Option<VersionPolicy> {
    let numbers = text.split(',').map(|number| number.trim().parse().ok());
    numbers.collect::<Option<_>>().map(VersionPolicy::Numbers)
}

impl TryFrom<String> for VersionPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<VersionPolicy> for String {
    fn from(policy: VersionPolicy) -> Self {
        policy.to_string()
    }
}

impl fmt::Display for VersionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aliases => f.write_str("aliases"),
            Self::Latest(1) => f.write_str("latest"),
            Self::Latest(count) => write!(f, "latest:{count}"),
            Self::All => f.write_str("all"),
            Self::Numbers(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

/// The part of a model that should be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) versions: BTreeSet<u64>,
    /// The version of each alias, and that of [`DEFAULT_NAME`].
    pub(super) names: BTreeMap<String, u64>,
}

impl Target {
    /// The versions that have names, and no others.
    pub(super) fn of_names(names: BTreeMap<String, u64>) -> Self {
        Self {
            versions: names.values().copied().collect(),
            names,
        }
    }
}

/// The part of a model that should be served, of these versions and aliases of it.
pub(super) fn target(
    policy: &VersionPolicy,
    versions: &[&VersionRecord],
    aliases: &[&Alias],
) -> Target {
    let available = numbers(versions, |_| true);
    let aliases = aliases
        .iter()
        .map(|alias| (alias.name.clone(), version_number(alias.version)))
        .filter(|(_, version)| available.contains(version));
    let mut names: BTreeMap<String, u64> = aliases.collect();

    let versions = chosen(policy, versions, &available, &names);
    // A policy such as `latest` may leave out what an alias stands for. Such an alias is unknown
    // here, rather than one that loads what the policy excludes.
    names.retain(|_, version| versions.contains(version));
    let default = names.get(CHAMPION).or(versions.last()).copied();
    names.extend(default.map(|number| (DEFAULT_NAME.to_owned(), number)));
    Target { versions, names }
}

/// The version that the alias `champion` points at, where the policy leaves it out: then moving the
/// alias, as a rollback does, changes nothing.
pub(super) fn excluded_champion(
    target: &Target,
    versions: &[&VersionRecord],
    aliases: &[&Alias],
) -> Option<u64> {
    let champion = aliases.iter().find(|alias| alias.name == CHAMPION)?;
    let number = version_number(champion.version);
    let is_available = versions
        .iter()
        .any(|version| version.number == champion.version);
    (is_available && !target.versions.contains(&number)).then_some(number)
}

fn chosen(
    policy: &VersionPolicy,
    versions: &[&VersionRecord],
    available: &BTreeSet<u64>,
    names: &BTreeMap<String, u64>,
) -> BTreeSet<u64> {
    let ready = numbers(versions, |version| version.state == VersionState::Ready);
    match policy {
        VersionPolicy::Aliases => {
            // An alias outweighs deprecation: its owner has set it, and it must not stop answering.
            let mut chosen: BTreeSet<u64> = names.values().copied().collect();
            if !names.contains_key(CHAMPION) {
                chosen.extend(ready.last());
            }
            chosen
        }
        VersionPolicy::Latest(count) => ready.iter().rev().take(*count).copied().collect(),
        VersionPolicy::All => {
            // As above: marking a version as deprecated must not move traffic.
            &ready | &names.values().copied().collect()
        }
        VersionPolicy::Numbers(numbers) => numbers & available,
    }
}

fn numbers(
    versions: &[&VersionRecord],
    is_included: impl Fn(&VersionRecord) -> bool,
) -> BTreeSet<u64> {
    versions
        .iter()
        .filter(|version| is_included(version))
        .map(|version| version_number(version.number))
        .collect()
}

/// The registry's numbers are signed, as its database has no unsigned integers. They begin at 1.
pub(super) fn version_number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidegate_core::Manifest;

    use super::*;

    fn versions(states: &[VersionState]) -> Vec<VersionRecord> {
        let record = |(at, state): (usize, &VersionState)| VersionRecord {
            model: "fraud".to_owned(),
            number: at as i64 + 1,
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            state: *state,
            reason: String::new(),
            manifest: Manifest::default(),
            bytes: 1,
            pushed_by: String::new(),
            pushed_ms: 0,
        };
        states.iter().enumerate().map(record).collect()
    }

    fn of(
        policy: &str,
        versions: &[VersionRecord],
        aliases: &[(&str, i64)],
    ) -> (Vec<u64>, Option<u64>) {
        let alias = |(name, version): &(&str, i64)| Alias {
            model: "fraud".to_owned(),
            name: (*name).to_owned(),
            version: *version,
        };
        let aliases: Vec<Alias> = aliases.iter().map(alias).collect();
        let target = target(
            &policy.parse().unwrap(),
            &versions.iter().collect::<Vec<_>>(),
            &aliases.iter().collect::<Vec<_>>(),
        );
        (
            target.versions.into_iter().collect(),
            target.names.get(DEFAULT_NAME).copied(),
        )
    }

    #[test]
    fn each_policy_chooses_its_versions_and_the_default() {
        use VersionState::{Deprecated, Ready};
        let four = versions(&[Ready, Ready, Ready, Deprecated]);
        assert_eq!(
            of("aliases", &four, &[]),
            (vec![3], Some(3)),
            "the newest that is not deprecated"
        );
        assert_eq!(
            of("aliases", &four, &[("champion", 1), ("challenger", 2)]),
            (vec![1, 2], Some(1))
        );
        assert_eq!(
            of("aliases", &four, &[("challenger", 2)]),
            (vec![2, 3], Some(3))
        );
        assert_eq!(
            of("aliases", &four, &[("champion", 4)]),
            (vec![4], Some(4)),
            "an alias outweighs deprecation"
        );
        assert_eq!(
            of("latest", &four, &[("champion", 1)]),
            (vec![3], Some(3)),
            "the champion is not served"
        );
        assert_eq!(
            of("latest:2", &four, &[("champion", 2)]),
            (vec![2, 3], Some(2))
        );
        assert_eq!(of("all", &four, &[]), (vec![1, 2, 3], Some(3)));
        assert_eq!(
            of("all", &four, &[("champion", 4)]),
            (vec![1, 2, 3, 4], Some(4)),
            "a deprecated champion goes on answering"
        );
        assert_eq!(of("1,4,9", &four, &[]), (vec![1, 4], Some(4)));
        assert_eq!(of("aliases", &[], &[]), (vec![], None));
    }

    #[test]
    fn a_champion_that_the_policy_leaves_out_is_told() {
        let three = versions(&[VersionState::Ready; 3]);
        let three: Vec<&VersionRecord> = three.iter().collect();
        let champion = Alias {
            model: "fraud".to_owned(),
            name: CHAMPION.to_owned(),
            version: 2,
        };
        let excluded = |policy: &str| {
            let target = target(&policy.parse().unwrap(), &three, &[&champion]);
            excluded_champion(&target, &three, &[&champion])
        };
        assert_eq!(excluded("latest"), Some(2));
        assert_eq!(excluded("1,3"), Some(2));
        assert_eq!(["aliases", "all", "latest:2", "2"].map(excluded), [None; 4]);
    }

    #[test]
    fn policies_read_back_and_others_are_refused() {
        for text in ["aliases", "latest", "latest:3", "all", "2,5"] {
            assert_eq!(text.parse::<VersionPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "latest:0", "newest", "1,,2", "-1"] {
            assert!(
                text.parse::<VersionPolicy>()
                    .unwrap_err()
                    .contains("is not a version policy"),
                "{text}"
            );
        }
    }
}
