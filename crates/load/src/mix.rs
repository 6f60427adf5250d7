//! Which request is sent next.

use crate::payload::Payload;

/// Models with their requests, mixed by weight.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// The sum of the weights up to this entry.
    upto: f64,
    payloads: Vec<Payload>,
}

impl Mix {
    /// Adds a model. Entries without weight or without requests are left out.
    #[must_use]
    pub fn with(mut self, name: &str, weight: f64, payloads: Vec<Payload>) -> Self {
        if weight > 0.0 && !payloads.is_empty() {
            let upto = self.total() + weight;
            self.entries.push(Entry {
                name: name.to_owned(),
                upto,
                payloads,
            });
        }
        self
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    fn total(&self) -> f64 {
        self.entries.last().map_or(0.0, |entry| entry.upto)
    }
}

/// One sequence of requests from a [`Mix`]: models at random by weight, the requests of each in
/// order.
#[derive(Debug)]
pub(crate) struct Picker {
    rng: fastrand::Rng,
    next: Vec<usize>,
}

impl Picker {
    /// Sequences of different seeds begin at different requests.
    pub(crate) fn new(mix: &Mix, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let next = mix
            .entries
            .iter()
            // Each sequence begins somewhere else: clients that start together send different
            // requests.
            .map(|entry| rng.usize(0..entry.payloads.len()))
            .collect();
        Self { rng, next }
    }

    /// The place of a model in the mix, and a request for it.
    pub(crate) fn pick<'a>(&mut self, mix: &'a Mix) -> (usize, &'a Payload) {
        let model = if mix.entries.len() == 1 {
            0
        } else {
            let point = self.rng.f64() * mix.total();
            mix.entries
                .iter()
                .position(|entry| point < entry.upto)
                // Only rounding could put the point beyond the last weight.
                .unwrap_or(0)
        };
        let payloads = &mix.entries[model].payloads;
        let at = self.next[model];
        self.next[model] = if at + 1 == payloads.len() { 0 } else { at + 1 };
        (model, &payloads[at])
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn payloads(count: u64) -> Vec<Payload> {
        (0..count)
            .map(|rows| Payload {
                bytes: Bytes::new(),
                rows,
            })
            .collect()
    }

    #[test]
    fn models_come_by_weight_and_their_requests_in_turn() {
        let mix = Mix::default()
            .with("a", 3.0, payloads(2))
            .with("none", 0.0, payloads(1))
            .with("b", 1.0, payloads(3));
        assert_eq!(mix.names().collect::<Vec<_>>(), ["a", "b"]);
        let mut picker = Picker::new(&mix, 1);
        let mut seen = [Vec::new(), Vec::new()];
        for _ in 0..4000 {
            let (model, payload) = picker.pick(&mix);
            seen[model].push(payload.rows);
        }
        // Three quarters, within five standard deviations of a binomial: sqrt(4000 * 0.75 * 0.25) =
        // 27.
        assert!(seen[0].len().abs_diff(3000) < 5 * 28, "{}", seen[0].len());
        for (requests, count) in seen.iter().zip([2, 3]) {
            assert!(
                requests
                    .windows(2)
                    .all(|pair| pair[1] == (pair[0] + 1) % count)
            );
        }
    }
}
