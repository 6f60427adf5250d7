//! The instructions of a profile by part: code that serves whoever calls it counts for its callers.

use std::collections::HashMap;

use super::part::Part;
use super::profile::{Function, Name, Profile};

const PARTS: usize = Part::ALL.len();
/// How often shares are handed on: longer chains of helpers than this end in "all else".
const STEPS: usize = 24;

/// For each part a weight.
type Weights = [f64; PARTS];

/// Instructions by part.
pub(super) struct Shares(Weights);

impl Shares {
    pub(super) fn of(profile: &Profile) -> Self {
        let helped = helped(profile);
        let mut sums = [0.0; PARTS];
        for (name, function) in &profile.functions {
            for (file, instructions) in &function.own {
                let weights = weights(function, file, helped.get(name));
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += weight * *instructions as f64;
                }
            }
        }
        Self(sums)
    }

    pub(super) fn part(&self, part: Part) -> f64 {
        self.0[part as usize]
    }

    pub(super) fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// For whom the functions work that have no part of their own: their callers, by what they spend on
/// them.
fn helped(profile: &Profile) -> HashMap<Name, Weights> {
    let mut helped: HashMap<Name, Weights> = HashMap::new();
    for _ in 0..STEPS {
        let mut next: HashMap<Name, Weights> = HashMap::new();
        for (name, function) in &profile.functions {
            for (file, callee, instructions) in &function.calls {
                let sums = next.entry(*callee).or_insert([0.0; PARTS]);
                for (sum, weight) in sums
                    .iter_mut()
                    .zip(weights(function, file, helped.get(name)))
                {
                    *sum += weight * *instructions as f64;
                }
            }
        }
        next.values_mut().for_each(normalize);
        helped = next;
    }
    helped
}

/// The parts of code of `file` in a function: that of the file, else that of the function, else
/// those that it helps.
fn weights(function: &Function, file: &str, helped: Option<&Weights>) -> Weights {
    let own =
        Part::of(&function.object, file).or_else(|| Part::of(&function.object, &function.file));
    match (own, helped) {
        (Some(part), _) => only(part),
        (None, Some(helped)) => *helped,
        (None, None) => only(Part::Other),
    }
}

fn only(part: Part) -> Weights {
    let mut weights = [0.0; PARTS];
    weights[part as usize] = 1.0;
    weights
}

fn normalize(weights: &mut Weights) {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    } else {
        *weights = only(Part::Other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(file: &str, own: u64, calls: Vec<(&str, Name, u64)>) -> Function {
        Function {
            object: "/bin/server".to_owned(),
            file: file.to_owned(),
            own: HashMap::from([(file.to_owned(), own)]),
            calls: calls
                .into_iter()
                .map(|(file, callee, cost)| (file.to_owned(), callee, cost))
                .collect(),
        }
    }

    #[test]
    fn helpers_count_for_those_who_call_them() {
        let (decode, encode, helper, deeper) = ((1, 1), (1, 2), (1, 3), (1, 4));
        let functions = HashMap::from([
            (
                decode,
                function(
                    "crates/server/src/json/decode.rs",
                    10,
                    vec![("library/core", helper, 90)],
                ),
            ),
            (
                encode,
                function(
                    "crates/server/src/json/encode.rs",
                    20,
                    vec![("library/core", helper, 30)],
                ),
            ),
            (
                helper,
                function("library/core", 40, vec![("library/core", deeper, 80)]),
            ),
            (deeper, function("???", 80, Vec::new())),
        ]);
        let shares = Shares::of(&Profile { functions });
        assert_eq!(shares.part(Part::Decode).round(), 100.0);
        assert_eq!(shares.part(Part::Encode).round(), 50.0);
        assert_eq!(shares.total().round(), 150.0);
    }
}
