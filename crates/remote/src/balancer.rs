//! Which server gets the next request.

use std::time::Instant;

use tidegate_engines::UpstreamFailure;

use crate::address::{Address, Usability};
use crate::failure::CallFailure;

/// Chooses between servers: of two random ones, the one with fewer requests under way.
pub(crate) struct Balancer {
    panic_share: f64,
}

impl Balancer {
    pub(crate) fn new(panic_share: f64) -> Self {
        Self { panic_share }
    }

    /// The place of a server, one that was not tried yet if there is one.
    ///
    /// # Errors
    /// If every server has another signature than the version.
    pub(crate) fn pick(
        &self,
        addresses: &[Address],
        tried: &[usize],
        now: Instant,
    ) -> Result<usize, CallFailure> {
        let found: Vec<Usability> = addresses.iter().map(|one| one.usability(now)).collect();
        let mut candidates = candidates(&found, self.panic_share);
        // An address that was tried is better than none.
        if candidates.iter().any(|at| !tried.contains(at)) {
            candidates.retain(|at| !tried.contains(at));
        }
        let outstanding = |at: usize| addresses[at].outstanding();
        match two_of(&candidates) {
            Some((one, two)) if outstanding(two) < outstanding(one) => Ok(two),
            Some((one, _)) => Ok(one),
            None => Err(different(addresses)),
        }
    }

    /// A server besides those that were tried, if there is one that works.
    pub(crate) fn pick_other(
        &self,
        addresses: &[Address],
        tried: &[usize],
        now: Instant,
    ) -> Option<usize> {
        let others = (0..addresses.len()).filter(|at| !tried.contains(at));
        let usable = others.filter(|at| addresses[*at].usability(now) == Usability::Usable);
        usable.min_by_key(|at| addresses[*at].outstanding())
    }
}

/// The servers to choose from: the usable ones. Where they are too few to bear the load, also those
/// that may not work, so that never all are left out.
fn candidates(found: &[Usability], panic_share: f64) -> Vec<usize> {
    let places = |is_wanted: fn(Usability) -> bool| -> Vec<usize> {
        let all = found.iter().enumerate();
        all.filter(|(_, usability)| is_wanted(**usability))
            .map(|(at, _)| at)
            .collect()
    };
    let usable = places(|usability| usability == Usability::Usable);
    let possible = places(|usability| usability != Usability::Unusable);
    let is_enough = usable.len() as f64 >= panic_share * possible.len() as f64;
    if usable.is_empty() || !is_enough {
        return possible;
    }
    usable
}

/// Two random ones, the same twice if there is one only.
fn two_of(candidates: &[usize]) -> Option<(usize, usize)> {
    let count = candidates.len();
    if count < 2 {
        return candidates.first().map(|only| (*only, *only));
    }
    let first = fastrand::usize(..count);
    let second = (first + fastrand::usize(1..count)) % count;
    Some((candidates[first], candidates[second]))
}

fn different(addresses: &[Address]) -> CallFailure {
    let difference = addresses.iter().find_map(Address::difference);
    let problem = format!(
        "the upstream servers have another signature than the loaded version: {}; load the model \
         again",
        difference.unwrap_or_default()
    );
    // None of them was asked.
    CallFailure::new(UpstreamFailure::Invalid, problem)
}

#[cfg(test)]
mod tests {
    use super::Usability::{Doubtful, Unusable, Usable};
    use super::*;

    #[test]
    fn doubtful_servers_are_used_where_too_few_others_are_left() {
        assert_eq!(candidates(&[Usable, Doubtful, Usable], 0.5), [0, 2]);
        assert_eq!(candidates(&[Usable, Doubtful], 0.5), [0]);
        assert_eq!(candidates(&[Usable, Doubtful, Doubtful], 0.5), [0, 1, 2]);
        assert_eq!(candidates(&[Doubtful, Doubtful], 0.0), [0, 1]);
    }

    #[test]
    fn a_server_with_another_signature_is_never_used() {
        assert_eq!(candidates(&[Unusable, Doubtful], 1.0), [1]);
        assert!(candidates(&[Unusable, Unusable], 1.0).is_empty());
        assert_eq!(candidates(&[Unusable, Usable, Usable], 0.5), [1, 2]);
    }

    #[test]
    fn two_different_servers_are_compared() {
        assert_eq!(two_of(&[]), None);
        assert_eq!(two_of(&[7]), Some((7, 7)));
        for _ in 0..100 {
            let (one, two) = two_of(&[1, 2, 3]).unwrap();
            assert_ne!(one, two);
        }
    }
}
