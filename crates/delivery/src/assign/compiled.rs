//! A split in the form in which requests use it.

use super::router::AssignmentMismatch;
use super::segments::Segments;
use super::sequence::Sequence;
use crate::policy::{Share, Split, VersionName};

/// One split: the end of each segment, its version's place in the router's list, and its share.
#[derive(Debug)]
pub(super) struct CompiledSplit {
    ends: Box<[u32]>,
    owners: Box<[(usize, Share)]>,
    sequence: Sequence,
}

impl CompiledSplit {
    /// Adds the split's versions to `versions`, the list of the router.
    pub(super) fn new(
        split: &Split,
        segments: &Segments,
        sequence: Sequence,
        versions: &mut Vec<VersionName>,
    ) -> Result<Self, AssignmentMismatch> {
        for weighted in split.versions() {
            if segments.share_of(&weighted.version) != weighted.weight {
                return Err(AssignmentMismatch(weighted.version.clone()));
            }
            index_of(&weighted.version, versions);
        }
        let mut owners = Vec::with_capacity(segments.as_slice().len());
        for segment in segments.as_slice() {
            let share = split.weight_of(&segment.version);
            owners.push((index_of(&segment.version, versions), share));
        }
        let ends = segments.as_slice().iter().map(|segment| segment.end);
        Ok(Self {
            ends: ends.collect(),
            owners: owners.into(),
            sequence,
        })
    }

    pub(super) fn owner(&self, point: u32) -> (usize, Share) {
        self.owners[self.ends.partition_point(|end| *end <= point)]
    }

    pub(super) fn next_point(&self) -> u32 {
        self.sequence.next_point()
    }
}

/// The place of a version in a list, to which it is added if it is new.
pub(super) fn index_of(version: &VersionName, versions: &mut Vec<VersionName>) -> usize {
    let known = versions.iter().position(|other| other == version);
    known.unwrap_or_else(|| {
        versions.push(version.clone());
        versions.len() - 1
    })
}
