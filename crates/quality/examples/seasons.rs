//! False alarms and detections over simulated weeks of traffic that has a day, a week and bursts of
//! its own: `cargo run --release -p tidegate-quality --example seasons [SEED]`.
//!
//! 50 features, an hour to a window, four weeks of reference; then 30 days without drift, and then,
//! each on its own, drifts of one feature.

use std::f64::consts::TAU;

use fastrand::Rng;
use tidegate_quality::change::Cusum;
use tidegate_quality::drift::{ColumnDrift, Dispersion, DriftPolicy, Part};
use tidegate_quality::profile::{Bins, CategoryBins, NumberBins, Profile, Value};

const FEATURES: usize = 50;
/// The last ten are categories.
const NUMBERS: usize = 40;
const WEEK: usize = 168;
const REFERENCE_WEEKS: usize = 4;
const DAYS: usize = 30;
const CATEGORIES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn main() {
    let seed = std::env::args()
        .nth(1)
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    let mut traffic = Traffic {
        rng: Rng::with_seed(seed),
    };
    let bins: Vec<Bins> = (0..FEATURES).map(bins).collect();
    let past: Vec<Vec<Profile>> = (0..REFERENCE_WEEKS * WEEK)
        .map(|hour| traffic.window(&bins, hour, &Drift::None))
        .collect();
    let references = references(&bins, &past);
    let dispersions = dispersions(&bins, &past);
    let judge = Judge {
        bins,
        references,
        dispersions,
    };

    for (name, seasonal, dispersed) in [
        ("one reference for all hours", false, false),
        ("the same hour of the week", true, false),
        ("the same hour of the week, and dispersion", true, true),
    ] {
        let mut alarms = 0;
        for hour in 0..DAYS * 24 {
            let window = traffic.window(&judge.bins, hour, &Drift::None);
            alarms += usize::from(judge.drifted(&window, hour, seasonal, dispersed).is_some());
        }
        let share = 100.0 * alarms as f64 / (DAYS * 24) as f64;
        println!(
            "{name}: alarms in {alarms} of {} windows, {share:.2} %",
            DAYS * 24
        );
    }
    for drift in [
        Drift::Shift(0.1),
        Drift::Shift(0.25),
        Drift::Shift(0.5),
        Drift::Scale(100.0),
        Drift::Missing(0.2),
        Drift::Lost,
    ] {
        detect(&judge, &mut traffic, &drift);
    }
}

/// How many hours go by until the feature has an alarm, over some beginnings: by a single window,
/// and by a cumulative sum over windows with a false alarm in a year of all features.
fn detect(judge: &Judge, traffic: &mut Traffic, drift: &Drift) {
    let (mut single, mut summed) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let start = run * 31;
        let mut chart = Cusum::new(0.5, (FEATURES * 365 * 24) as f64).expect("both are above 0");
        let (mut found, mut found_by_sum) = (LONGEST, LONGEST);
        for delay in 0..LONGEST {
            let window = traffic.window(&judge.bins, start + delay, drift);
            let order = judge.order(&window, start + delay, drift.feature());
            if order.and_then(|z| chart.add(z)).is_some() {
                found_by_sum = found_by_sum.min(delay);
            }
            if judge.drifted(&window, start + delay, true, true) == Some(drift.feature()) {
                found = found.min(delay);
            }
            if found < LONGEST && found_by_sum < LONGEST {
                break;
            }
        }
        single.push(found);
        summed.push(found_by_sum);
    }
    single.sort_unstable();
    summed.sort_unstable();
    println!(
        "{drift:?}: found after {} hours (median; {} at most), by a sum of windows after {} ({})",
        single[RUNS / 2] + 1,
        single[RUNS - 1] + 1,
        summed[RUNS / 2] + 1,
        summed[RUNS - 1] + 1,
    );
}

const RUNS: usize = 10;
/// After so many hours it is not waited any longer.
const LONGEST: usize = 100;

#[derive(Debug)]
enum Drift {
    None,
    Shift(f64),
    Scale(f64),
    Missing(f64),
    Lost,
}

impl Drift {
    fn feature(&self) -> usize {
        if matches!(self, Self::Lost) {
            NUMBERS
        } else {
            3
        }
    }
}

struct Traffic {
    rng: Rng,
}

impl Traffic {
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt() * (TAU * self.rng.f64()).cos()
    }

    /// An hour of rows: more of them by day, with means that follow the day and the week, and a bit
    /// of their own.
    fn window(&mut self, bins: &[Bins], hour: usize, drift: &Drift) -> Vec<Profile> {
        let day = (TAU * hour as f64 / 24.0).sin();
        let weekend = f64::from(u8::from(hour % WEEK >= 120));
        let rows = (1000.0 + 500.0 * day) as usize;
        let mut window = Vec::new();
        for (feature, bins) in bins.iter().enumerate() {
            let drift = if drift.feature() == feature {
                drift
            } else {
                &Drift::None
            };
            let mean = 0.3 * day * (feature % 3) as f64
                + 0.4 * weekend * (feature % 2) as f64
                + 0.05 * self.normal();
            let mut profile = Profile::new(bins);
            for _ in 0..rows {
                let number = mean + self.normal();
                self.add(&mut profile, bins, number, drift);
            }
            window.push(profile);
        }
        window
    }

    fn add(&mut self, profile: &mut Profile, bins: &Bins, number: f64, drift: &Drift) {
        let category = |number: f64| ((number + 2.0) * 1.5).clamp(0.0, 5.0) as usize;
        let value = match (bins, drift) {
            (_, Drift::Missing(share)) if self.rng.f64() < *share => Value::Missing,
            (Bins::Category(_), Drift::Lost) if category(number) == 1 => Value::Text("c"),
            (Bins::Category(_), _) => Value::Text(CATEGORIES[category(number)]),
            (_, Drift::Shift(by)) => Value::Number(number + by),
            (_, Drift::Scale(by)) => Value::Number(number * by),
            _ => Value::Number(number),
        };
        profile.add(bins, value);
    }
}

fn bins(feature: usize) -> Bins {
    if feature >= NUMBERS {
        let categories = CATEGORIES.map(str::to_owned).to_vec();
        return Bins::Category(CategoryBins::new(categories, true).expect("they are different"));
    }
    let upper = (-9..=10).map(|i| f64::from(i) * 0.4).collect();
    Bins::Number(NumberBins::new(-4.0, upper).expect("they ascend"))
}

/// By hour of the week, and feature.
fn references(bins: &[Bins], past: &[Vec<Profile>]) -> Vec<Vec<Profile>> {
    let mut references = Vec::new();
    for hour in 0..WEEK {
        let mut reference: Vec<Profile> = bins.iter().map(Profile::new).collect();
        for window in past.iter().skip(hour).step_by(WEEK) {
            for (reference, profile) in reference.iter_mut().zip(window) {
                reference.merge(profile).expect("they are of the same bins");
            }
        }
        references.push(reference);
    }
    references
}

fn dispersions(bins: &[Bins], past: &[Vec<Profile>]) -> Vec<Option<Dispersion>> {
    let dispersion = |(feature, bins): (usize, &Bins)| {
        let season = |hour: usize| -> Vec<Profile> {
            past.iter()
                .skip(hour)
                .step_by(WEEK)
                .map(|window| window[feature].clone())
                .collect()
        };
        let seasons: Vec<Vec<Profile>> = (0..WEEK).map(season).collect();
        let seasons: Vec<&[Profile]> = seasons.iter().map(Vec::as_slice).collect();
        Dispersion::estimate_seasonal(bins, &seasons)
    };
    bins.iter().enumerate().map(dispersion).collect()
}

struct Judge {
    bins: Vec<Bins>,
    references: Vec<Vec<Profile>>,
    dispersions: Vec<Option<Dispersion>>,
}

impl Judge {
    /// By how much the numbers of a feature rose or fell.
    fn order(&self, window: &[Profile], hour: usize, feature: usize) -> Option<f64> {
        let (bins, reference) = (&self.bins[feature], &self.references[hour % WEEK][feature]);
        let dispersion = self.dispersions[feature].as_ref();
        let drift = ColumnDrift::compare(bins, reference, &window[feature], dispersion)?;
        drift.tests.iter().find(|test| test.part == Part::Order)?.z
    }

    /// The first feature with an alarm.
    fn drifted(
        &self,
        window: &[Profile],
        hour: usize,
        seasonal: bool,
        dispersed: bool,
    ) -> Option<usize> {
        let reference = &self.references[if seasonal { hour % WEEK } else { 12 }];
        let compare = |feature: usize| {
            let dispersion = self.dispersions[feature].as_ref().filter(|_| dispersed);
            let (bins, reference) = (&self.bins[feature], &reference[feature]);
            ColumnDrift::compare(bins, reference, &window[feature], dispersion)
        };
        let drifts: Vec<Option<ColumnDrift>> = (0..window.len()).map(compare).collect();
        let verdicts = DriftPolicy::default().decide(drifts.iter().map(Option::as_ref));
        verdicts.iter().position(|verdict| verdict.drifted)
    }
}
