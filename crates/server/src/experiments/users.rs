//! What is known of the users of an experiment.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::definition::{ExperimentDefinition, MetricDefinition, MetricSource, Missing, PerUser};

/// Users in memory at once; of more, a random part is kept.
const MAX_USERS: usize = 500_000;
/// Into how many parts users are divided in the database.
const PARTS: u64 = 64;

/// The users of an experiment, by their hash and their arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UserTable {
    users: HashMap<(u64, u8), UserSums>,
    /// One in 2^n users is kept.
    sampled_bits: u32,
}

/// What a user got from an arm, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct UserSums {
    /// The first request, in milliseconds since 1970.
    pub(super) first_ms: i64,
    /// The covariate of the first request.
    pub(super) covariate: Option<f64>,
    pub(super) predictions: u32,
    /// Those that are so old that their labels have come.
    pub(super) mature: u32,
    pub(super) failed: u32,
    pub(super) latency_ms: f64,
    /// Of each metric of labels.
    pub(super) labels: Vec<LabelSums>,
}

/// The labels of a user for one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LabelSums {
    pub(super) labelled: u32,
    /// Those above 0.
    pub(super) positive: u32,
    pub(super) sum: f64,
}

/// A part of a table, as the database has it.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenPart {
    sampled_bits: u32,
    users: Vec<(u64, u8, UserSums)>,
}

impl UserTable {
    /// The sums of a user in an arm; `None` if the user is not among those that are kept.
    pub(super) fn of(&mut self, user: u64, arm: u8, labels: usize) -> Option<&mut UserSums> {
        if !is_kept(user, self.sampled_bits) {
            return None;
        }
        let sums = self.users.entry((user, arm)).or_insert_with(|| UserSums {
            first_ms: i64::MAX,
            labels: vec![LabelSums::default(); labels],
            ..UserSums::default()
        });
        Some(sums)
    }

    /// Keeps a smaller part of the users while there are too many.
    pub(super) fn bound(&mut self) {
        while self.users.len() > MAX_USERS {
            self.sample(self.sampled_bits + 1);
        }
    }

    fn sample(&mut self, bits: u32) {
        self.sampled_bits = bits;
        self.users.retain(|(user, _), _| is_kept(*user, bits));
    }

    /// The share of the users that is kept.
    pub(super) fn kept_share(&self) -> f64 {
        0.5_f64.powi(self.sampled_bits.cast_signed())
    }

    /// Adds what another server saw.
    pub(super) fn merge(&mut self, other: Self) {
        self.sample(self.sampled_bits.max(other.sampled_bits));
        for ((user, arm), sums) in other.users {
            if let Some(own) = self.of(user, arm, sums.labels.len()) {
                own.merge(&sums);
            }
        }
        self.bound();
    }

    /// The users of each arm that have been in that arm only, and how many were in several.
    pub(super) fn by_arm(&self, arms: usize) -> (Vec<Vec<&UserSums>>, u64) {
        let mut seen: HashMap<u64, u8> = HashMap::new();
        for (user, _) in self.users.keys() {
            *seen.entry(*user).or_default() += 1;
        }
        let mut by_arm = vec![Vec::new(); arms];
        for ((user, arm), sums) in &self.users {
            let is_in_one = seen.get(user).is_some_and(|arms| *arms == 1);
            if is_in_one && let Some(users) = by_arm.get_mut(usize::from(*arm)) {
                users.push(sums);
            }
        }
        let in_several = seen.values().filter(|arms| **arms > 1).count() as u64;
        (by_arm, in_several)
    }

    /// Every user of each arm, also those that were in several.
    pub(super) fn all_by_arm(&self, arms: usize) -> Vec<Vec<&UserSums>> {
        let mut by_arm = vec![Vec::new(); arms];
        for ((_, arm), sums) in &self.users {
            if let Some(users) = by_arm.get_mut(usize::from(*arm)) {
                users.push(sums);
            }
        }
        by_arm
    }

    /// The parts of the table as JSON. Equal tables give equal texts.
    pub(super) fn parts(&self) -> Vec<String> {
        let mut parts: Vec<Vec<(u64, u8, UserSums)>> = vec![Vec::new(); PARTS as usize];
        for ((user, arm), sums) in &self.users {
            parts[(user % PARTS) as usize].push((*user, *arm, sums.clone()));
        }
        let sampled_bits = self.sampled_bits;
        let texts = parts.into_iter().map(|mut users| {
            users.sort_unstable_by_key(|(user, arm, _)| (*user, *arm));
            let part = WrittenPart {
                sampled_bits,
                users,
            };
            serde_json::to_string(&part).unwrap_or_default()
        });
        texts.collect()
    }

    /// Reads a part.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn read(part: &str) -> Result<Self, String> {
        let part: WrittenPart = serde_json::from_str(part)
            .map_err(|error| format!("what another server saw cannot be read: {error}"))?;
        let users = part.users.into_iter();
        Ok(Self {
            users: users.map(|(user, arm, sums)| ((user, arm), sums)).collect(),
            sampled_bits: part.sampled_bits,
        })
    }
}

/// Whether a user is among one in 2^`bits`. Independent of their arm, which other bits decide.
fn is_kept(user: u64, bits: u32) -> bool {
    let mixed = user.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed.trailing_zeros() >= bits
}

impl UserSums {
    fn merge(&mut self, other: &Self) {
        if other.first_ms < self.first_ms {
            (self.first_ms, self.covariate) = (other.first_ms, other.covariate);
        }
        self.predictions += other.predictions;
        self.mature += other.mature;
        self.failed += other.failed;
        self.latency_ms += other.latency_ms;
        for (own, other) in self.labels.iter_mut().zip(&other.labels) {
            own.labelled += other.labelled;
            own.positive += other.positive;
            own.sum += other.sum;
        }
    }

    /// The number of a user for a metric; `None` if nothing is known. `label_metric` is its place among the
    /// metrics of labels.
    pub(super) fn value(&self, metric: &MetricDefinition, label_metric: usize) -> Option<f64> {
        let predictions = f64::from(self.predictions);
        let (sum, count, positive) = match metric.of {
            MetricSource::Errors => {
                let failed = f64::from(self.failed);
                (failed, predictions, failed)
            }
            MetricSource::LatencyMs => (self.latency_ms, predictions, predictions),
            MetricSource::Label => {
                let labels = self.labels.get(label_metric)?;
                let count = match metric.missing {
                    Missing::Skip => f64::from(labels.labelled),
                    Missing::Zero => f64::from(self.mature),
                };
                (labels.sum, count, f64::from(labels.positive))
            }
        };
        if count == 0.0 {
            return None;
        }
        Some(match metric.per_user {
            PerUser::Mean => sum / count,
            PerUser::Sum => sum,
            PerUser::Any => f64::from(u8::from(positive > 0.0)),
        })
    }
}

impl ExperimentDefinition {
    /// Every metric, with its place among those of labels.
    pub(super) fn metric_places(&self) -> Vec<(&MetricDefinition, usize)> {
        let mut places = Vec::with_capacity(self.metrics.len());
        let mut labels = 0;
        for metric in &self.metrics {
            places.push((metric, labels));
            labels += usize::from(metric.of == MetricSource::Label);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(users: impl IntoIterator<Item = (u64, u8)>) -> UserTable {
        let mut table = UserTable::default();
        for (user, arm) in users {
            let sums = table.of(user, arm, 1).unwrap();
            sums.predictions += 1;
            sums.first_ms = sums.first_ms.min(5);
        }
        table
    }

    #[test]
    fn a_user_who_was_in_two_arms_is_in_none() {
        let table = table([(1, 0), (1, 1), (2, 0), (3, 1), (3, 1)]);
        let (by_arm, in_several) = table.by_arm(2);
        let counts: Vec<usize> = by_arm.iter().map(Vec::len).collect();
        assert_eq!((counts, in_several), (vec![1, 1], 1));
        assert_eq!(by_arm[1][0].predictions, 2);
    }

    #[test]
    fn parts_are_the_table_again_and_servers_add_up() {
        let one = table((0..1000).map(|user| (user * 7919, 0)));
        let mut read = UserTable::default();
        for part in one.parts() {
            read.merge(UserTable::read(&part).unwrap());
        }
        assert_eq!(read, one);
        read.merge(one);
        let (by_arm, _) = read.by_arm(1);
        assert!(by_arm[0].iter().all(|user| user.predictions == 2));
    }

    #[test]
    fn too_many_users_are_sampled_alike_everywhere() {
        let hash = |user: u64| user.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let mut one = table((0..40_000).map(|user| (hash(user), 0)));
        one.sample(2);
        let kept = one.users.len();
        assert!((9_500..10_500).contains(&kept), "{kept}");
        assert_eq!(one.kept_share(), 0.25);
        let other = table((0..40_000).map(|user| (hash(user), 0)));
        one.merge(other);
        assert_eq!(one.users.len(), kept);
    }

    #[test]
    fn a_user_has_one_number_for_each_metric() {
        let metric = |written: &str| -> MetricDefinition { serde_json::from_str(written).unwrap() };
        let sums = UserSums {
            predictions: 4,
            mature: 4,
            failed: 1,
            latency_ms: 8.0,
            labels: vec![LabelSums {
                labelled: 2,
                positive: 1,
                sum: 3.0,
            }],
            ..UserSums::default()
        };
        for (written, expected) in [
            (r#"{"name": "m"}"#, Some(1.5)),
            (r#"{"name": "m", "missing": "zero"}"#, Some(0.75)),
            (r#"{"name": "m", "per_user": "sum"}"#, Some(3.0)),
            (r#"{"name": "m", "per_user": "any"}"#, Some(1.0)),
            (r#"{"name": "m", "of": "errors"}"#, Some(0.25)),
            (r#"{"name": "m", "of": "latency_ms"}"#, Some(2.0)),
        ] {
            assert_eq!(sums.value(&metric(written), 0), expected, "{written}");
        }
        let unlabelled = UserSums {
            predictions: 1,
            labels: vec![LabelSums::default()],
            ..UserSums::default()
        };
        assert_eq!(unlabelled.value(&metric(r#"{"name": "m"}"#), 0), None);
    }
}
