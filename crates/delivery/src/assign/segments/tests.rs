use proptest::prelude::*;

use super::*;
use crate::policy::TrafficPolicy;

/// A policy's split from weights that are 100 000 together.
fn split(weights: &[(u64, u32)]) -> Split {
    let versions: Vec<String> = weights
        .iter()
        .map(|(version, parts)| {
            let weight = Share::from_parts(*parts).unwrap();
            format!("{{ version = {version}, weight = '{weight}' }}")
        })
        .collect();
    let text = format!("versions = [{}]", versions.join(","));
    toml::from_str::<TrafficPolicy>(&text)
        .unwrap()
        .split()
        .clone()
}

/// Weights of up to six versions out of eight, zeros among them.
fn any_split() -> impl Strategy<Value = Split> {
    let versions = proptest::sample::subsequence((1..9_u64).collect::<Vec<_>>(), 1..7);
    (versions, proptest::collection::vec(0..=PARTS, 5)).prop_map(|(versions, mut cuts)| {
        cuts.truncate(versions.len() - 1);
        cuts.sort_unstable();
        cuts.push(PARTS);
        let mut before = 0;
        let mut weights = Vec::new();
        for (version, cut) in versions.into_iter().zip(cuts) {
            weights.push((version, cut - before));
            before = cut;
        }
        split(&weights)
    })
}

fn moved_points(before: &Segments, after: &Segments) -> usize {
    (0..PARTS)
        .filter(|point| before.owner(*point) != after.owner(*point))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn only_the_moved_share_moves(first in any_split(), others in proptest::collection::vec(any_split(), 1..6)) {
        let (mut split, mut segments) = (first.clone(), Segments::new(&first));
        for next in others {
            let changed = segments.change(&next);
            for weighted in next.versions() {
                prop_assert_eq!(changed.share_of(&weighted.version), weighted.weight);
            }
            let moved = moved_points(&segments, &changed);
            prop_assert_eq!(moved, split.moved_share(&next).parts() as usize);
            let read = Segments::try_from(changed.as_slice().to_vec());
            prop_assert_eq!(read.as_ref(), Ok(&changed));
            (split, segments) = (next, changed);
        }
    }

    #[test]
    fn equal_weights_move_nothing(first in any_split(), second in any_split()) {
        let segments = Segments::new(&first).change(&second);
        prop_assert_eq!(segments.change(&second), segments);
    }
}

#[test]
fn a_version_that_gains_keeps_its_keys() {
    let mut segments = Segments::new(&split(&[(7, PARTS)]));
    for parts in [1000, 5000, 25_000, 50_000, PARTS] {
        let next = segments.change(&split(&[(7, PARTS - parts), (8, parts)]));
        let candidate = VersionName::number(8);
        for point in (0..PARTS).filter(|point| *segments.owner(*point) == candidate) {
            assert_eq!(*next.owner(point), candidate);
        }
        assert!(next.as_slice().len() <= 2, "{next:?}");
        segments = next;
    }
}

#[test]
fn segments_stay_few_over_many_changes() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut segments = Segments::new(&split(&[(1, PARTS)]));
    for _ in 0..2000 {
        let (first, second) = (random.u32(0..PARTS / 2), random.u32(0..PARTS / 2));
        let rest = PARTS - first - second;
        segments = segments.change(&split(&[(1, rest), (2, first), (3, second)]));
    }
    assert!(
        segments.as_slice().len() < 200,
        "{}",
        segments.as_slice().len()
    );
}

#[test]
fn segments_with_gaps_are_refused() {
    let segment = |end| Segment {
        end,
        version: VersionName::number(1),
    };
    for ends in [vec![], vec![5], vec![PARTS, PARTS], vec![PARTS + 1]] {
        let segments: Vec<Segment> = ends.into_iter().map(segment).collect();
        assert_eq!(Segments::try_from(segments), Err(InvalidSegments));
    }
}
