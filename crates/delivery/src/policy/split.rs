//! Weighted versions that make up the whole.

use super::problem::PolicyProblem;
use super::share::{PARTS, Share};
use super::version_name::VersionName;
use super::{MAX_VERSIONS, WrittenVersion};

/// A version and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedVersion {
    /// The version.
    pub version: VersionName,
    /// The share of requests that it answers; 0 % is none at all.
    pub weight: Share,
}

/// Versions whose weights are 100 % together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split(Vec<WeightedVersion>);

impl Split {
    /// One version that answers everything.
    pub fn only(version: VersionName) -> Self {
        let weight = Share::ALL;
        Self(vec![WeightedVersion { version, weight }])
    }

    /// `candidate` answers `share` of the requests, `stable` the rest.
    pub fn between(stable: VersionName, candidate: VersionName, share: Share) -> Self {
        if stable == candidate {
            return Self::only(stable);
        }
        let stable = WeightedVersion {
            version: stable,
            weight: share.rest(),
        };
        let candidate = WeightedVersion {
            version: candidate,
            weight: share,
        };
        Self(vec![stable, candidate])
    }

    /// The versions, in the order in which they were written.
    pub fn versions(&self) -> &[WeightedVersion] {
        &self.0
    }

    /// The share of a version: 0 % if it is not part of the split.
    pub fn weight_of(&self, version: &VersionName) -> Share {
        let found = self.0.iter().find(|weighted| weighted.version == *version);
        found.map_or(Share::NONE, |weighted| weighted.weight)
    }

    /// The share of all requests that another version answers once `next` is in force.
    pub fn moved_share(&self, next: &Self) -> Share {
        let gains = next.0.iter().map(|weighted| {
            let before = self.weight_of(&weighted.version).parts();
            weighted.weight.parts().saturating_sub(before)
        });
        Share::from_parts(gains.sum()).unwrap_or(Share::ALL)
    }

    /// Checks the versions of `place`, and reports everything that is wrong with them.
    pub(super) fn check(
        written: &[WrittenVersion],
        place: &str,
        problems: &mut Vec<PolicyProblem>,
    ) -> Self {
        let place = || place.to_owned();
        match written.len() {
            0 => problems.push(PolicyProblem::NoVersions { place: place() }),
            1..=MAX_VERSIONS => {}
            count => problems.push(PolicyProblem::TooMany {
                place: place(),
                what: "versions",
                count,
                most: MAX_VERSIONS,
            }),
        }
        let mut versions: Vec<WeightedVersion> = Vec::with_capacity(written.len());
        for WrittenVersion { version, weight } in written {
            if versions.iter().any(|other| other.version == *version) {
                let version = version.clone();
                problems.push(PolicyProblem::DuplicateVersion {
                    place: place(),
                    version,
                });
            }
            // One version alone can only have all of it. Beside others, a weight that was left out
            // must not be taken for none or for an equal share.
            let weight = weight.or((written.len() == 1).then_some(Share::ALL));
            if weight.is_none() {
                let version = version.clone();
                problems.push(PolicyProblem::NoWeight {
                    place: place(),
                    version,
                });
            }
            let weight = weight.unwrap_or_default();
            versions.push(WeightedVersion {
                version: version.clone(),
                weight,
            });
        }
        let parts: u64 = versions
            .iter()
            .map(|one| u64::from(one.weight.parts()))
            .sum();
        let all_weights_are_there =
            written.len() == 1 || written.iter().all(|one| one.weight.is_some());
        if !versions.is_empty() && all_weights_are_there && parts != u64::from(PARTS) {
            problems.push(PolicyProblem::Sum {
                place: place(),
                percent: parts as f64 / 1000.0,
            });
        }
        Self(versions)
    }
}
