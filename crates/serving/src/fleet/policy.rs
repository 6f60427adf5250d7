//! Which versions of a model are served, and by which names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tidegate_registry::{Alias, VersionRecord, VersionState};

/// The name of what answers requests that name no version.
pub(super) const DEFAULT: &str = "";
/// The alias whose version answers requests that name none.
const CHAMPION: &str = "champion";

/// Which versions of a model are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum VersionPolicy {
    /// Those that an alias points at; where none is the champion, the newest one too.
    #[default]
    Aliases,
    /// So many of the newest.
    Latest(usize),
    /// All that are not deprecated.
    All,
    /// These.
    Numbers(BTreeSet<u64>),
}

impl FromStr for VersionPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no choice of versions: aliases, latest, latest:N, all, or numbers as 3,5"
            )
        };
        match text {
            "aliases" => return Ok(Self::Aliases),
            "latest" => return Ok(Self::Latest(1)),
            "all" => return Ok(Self::All),
            _ => {}
        }
        if let Some(count) = text.strip_prefix("latest:") {
            return count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Latest)
                .ok_or_else(wrong);
        }
        let numbers: Option<BTreeSet<u64>> = text
            .split(',')
            .map(|number| number.trim().parse().ok())
            .collect();
        numbers.map(Self::Numbers).ok_or_else(wrong)
    }
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
            Self::Numbers(numbers) => f.write_str(
                &numbers
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
            ),
        }
    }
}

/// What of a model should be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) versions: BTreeSet<u64>,
    /// The version that each alias means, and that which answers when none is named.
    pub(super) names: BTreeMap<String, u64>,
}

/// What of a model should be served, of these versions and aliases of it.
pub(super) fn target(
    policy: &VersionPolicy,
    versions: &[&VersionRecord],
    aliases: &[&Alias],
) -> Target {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let there: BTreeSet<u64> = versions
        .iter()
        .map(|version| number(version.number))
        .collect();
    let ready = versions
        .iter()
        .filter(|version| version.state == VersionState::Ready);
    let ready: BTreeSet<u64> = ready.map(|version| number(version.number)).collect();
    let mut names: BTreeMap<String, u64> = aliases
        .iter()
        .map(|alias| (alias.name.clone(), number(alias.version)))
        .collect();
    names.retain(|_, version| there.contains(version));
    let champion = names.get(CHAMPION).copied();
    let mut wanted: BTreeSet<u64> = match policy {
        VersionPolicy::Aliases => names.values().copied().collect(),
        VersionPolicy::Latest(count) => ready.iter().rev().take(*count).copied().collect(),
        VersionPolicy::All => ready.clone(),
        VersionPolicy::Numbers(numbers) => numbers & &there,
    };
    if *policy == VersionPolicy::Aliases && champion.is_none() {
        wanted.extend(ready.last());
    }
    names.retain(|_, version| wanted.contains(version));
    let answering = champion
        .filter(|champion| wanted.contains(champion))
        .or_else(|| wanted.last().copied());
    names.extend(answering.map(|answering| (DEFAULT.to_owned(), answering)));
    Target {
        versions: wanted,
        names,
    }
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
            target.names.get(DEFAULT).copied(),
        )
    }

    #[test]
    fn each_policy_picks_its_versions_and_the_one_that_answers() {
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
        assert_eq!(of("1,4,9", &four, &[]), (vec![1, 4], Some(4)));
        assert_eq!(of("aliases", &[], &[]), (vec![], None));
    }

    #[test]
    fn what_is_no_policy_is_refused_and_what_is_reads_back() {
        for text in ["aliases", "latest", "latest:3", "all", "2,5"] {
            assert_eq!(text.parse::<VersionPolicy>().unwrap().to_string(), text);
        }
        for text in ["", "latest:0", "newest", "1,,2", "-1"] {
            assert!(
                text.parse::<VersionPolicy>()
                    .unwrap_err()
                    .contains("is no choice of versions"),
                "{text}"
            );
        }
    }
}
