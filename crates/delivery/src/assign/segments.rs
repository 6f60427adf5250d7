//! Which points belong to which version.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::policy::{PARTS, Share, Split, VersionName};

/// The points from the end of the segment before to below this `end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The first point after it.
    pub end: u32,
    /// The version that owns its points.
    pub version: VersionName,
}

/// The owners of all points, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Segment>", into = "Vec<Segment>")]
pub struct Segments(Vec<Segment>);

/// Segments that do not cover all points, each once.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("segments must have rising ends, the last of them at 100000")]
pub struct InvalidSegments;

impl Segments {
    /// The segments of a first policy: the versions side by side, as they were written.
    pub fn new(split: &Split) -> Self {
        let mut segments = Self(Vec::new());
        for weighted in split.versions() {
            segments.push(weighted.weight.parts(), &weighted.version);
        }
        segments
    }

    /// The segments for other weights: exactly the share moves that
    /// [`Split::moved_share`] says. A version that gains keeps all its points.
    #[must_use]
    pub fn change(&self, next: &Split) -> Self {
        let mut pieces = self.give_up(next);
        let mut needs: Vec<(&VersionName, u32)> = Vec::new();
        for weighted in next.versions() {
            let missing = weighted
                .weight
                .parts()
                .saturating_sub(self.share_of(&weighted.version).parts());
            needs.push((&weighted.version, missing));
        }
        fill_beside_own(&mut pieces, &mut needs);
        let mut changed = Self(Vec::new());
        for piece in pieces {
            match piece.owner {
                Some(version) => changed.push(piece.length, version),
                None => changed.push_from(piece.length, &mut needs),
            }
        }
        changed
    }

    /// The share of the points that a version owns.
    pub fn share_of(&self, version: &VersionName) -> Share {
        let owned = self.lengths().filter(|(_, owner)| *owner == version);
        let parts = owned.map(|(length, _)| length).sum();
        Share::from_parts(parts).unwrap_or(Share::ALL)
    }

    /// The segments in order.
    pub fn as_slice(&self) -> &[Segment] {
        &self.0
    }

    /// The owner of a point below [`PARTS`].
    pub fn owner(&self, point: u32) -> &VersionName {
        let index = self.0.partition_point(|segment| segment.end <= point);
        &self.0[index].version
    }

    fn lengths(&self) -> impl Iterator<Item = (u32, &VersionName)> {
        let starts = std::iter::once(0).chain(self.0.iter().map(|segment| segment.end));
        let pairs = starts.zip(&self.0);
        pairs.map(|(start, segment)| (segment.end - start, &segment.version))
    }

    /// Adds points at the end; neighbours of one owner become one segment.
    fn push(&mut self, length: u32, version: &VersionName) {
        if length == 0 {
            return;
        }
        let end = self.0.last().map_or(0, |last| last.end) + length;
        match self.0.last_mut() {
            Some(last) if last.version == *version => last.end = end,
            _ => self.0.push(Segment {
                end,
                version: version.clone(),
            }),
        }
    }

    /// Adds points at the end, and gives them to those who need points, in order.
    fn push_from(&mut self, mut length: u32, needs: &mut [(&VersionName, u32)]) {
        for (version, missing) in needs {
            let taken = length.min(*missing);
            self.push(taken, version);
            *missing -= taken;
            length -= taken;
        }
    }

    /// The points in order, of which versions have given up what they lose: the highest of theirs, so
    /// that a version that is replaced step by step keeps one segment.
    fn give_up(&self, next: &Split) -> Vec<Piece<'_>> {
        let mut losses: Vec<(&VersionName, u32)> = Vec::new();
        let mut pieces = Vec::with_capacity(2 * self.0.len());
        let lengths: Vec<(u32, &VersionName)> = self.lengths().collect();
        for (length, version) in lengths.into_iter().rev() {
            let loss = loss_of(version, &mut losses, || {
                let kept = next.weight_of(version).parts();
                self.share_of(version).parts().saturating_sub(kept)
            });
            let freed = length.min(*loss);
            *loss -= freed;
            pieces.push(Piece {
                length: freed,
                owner: None,
            });
            pieces.push(Piece {
                length: length - freed,
                owner: Some(version),
            });
        }
        pieces.retain(|piece| piece.length > 0);
        pieces.reverse();
        pieces
    }
}

/// Points in a row; without owner if they were given up.
struct Piece<'a> {
    length: u32,
    owner: Option<&'a VersionName>,
}

/// What a version has still to give up; `all` is asked for the first of its segments.
fn loss_of<'a, 'b>(
    version: &'a VersionName,
    losses: &'b mut Vec<(&'a VersionName, u32)>,
    all: impl Fn() -> u32,
) -> &'b mut u32 {
    let known = losses.iter().position(|(other, _)| *other == version);
    let index = known.unwrap_or_else(|| {
        losses.push((version, all()));
        losses.len() - 1
    });
    &mut losses[index].1
}

/// Gives free points first to a version that owns points beside them, which keeps segments few.
fn fill_beside_own<'a>(pieces: &mut Vec<Piece<'a>>, needs: &mut [(&VersionName, u32)]) {
    let mut index = 0;
    while index < pieces.len() {
        if pieces[index].owner.is_some() {
            index += 1;
            continue;
        }
        let before = index.checked_sub(1).and_then(|left| pieces[left].owner);
        let taken = take(before, pieces[index].length, needs);
        pieces[index].length -= taken;
        pieces.insert(
            index,
            Piece {
                length: taken,
                owner: before,
            },
        );
        index += 1;
        let after = pieces.get(index + 1).and_then(|right| right.owner);
        let taken = take(after, pieces[index].length, needs);
        pieces[index].length -= taken;
        pieces.insert(
            index + 1,
            Piece {
                length: taken,
                owner: after,
            },
        );
        index += 2;
    }
    pieces.retain(|piece| piece.length > 0);
}

/// How many of `free` points a version takes.
fn take(version: Option<&VersionName>, free: u32, needs: &mut [(&VersionName, u32)]) -> u32 {
    let Some((_, missing)) = needs.iter_mut().find(|(other, _)| Some(*other) == version) else {
        return 0;
    };
    let taken = free.min(*missing);
    *missing -= taken;
    taken
}

impl TryFrom<Vec<Segment>> for Segments {
    type Error = InvalidSegments;

    fn try_from(segments: Vec<Segment>) -> Result<Self, Self::Error> {
        let mut before = 0;
        for segment in &segments {
            if segment.end <= before {
                return Err(InvalidSegments);
            }
            before = segment.end;
        }
        if before == PARTS {
            Ok(Self(segments))
        } else {
            Err(InvalidSegments)
        }
    }
}

impl From<Segments> for Vec<Segment> {
    fn from(segments: Segments) -> Self {
        segments.0
    }
}

#[cfg(test)]
mod tests;
