//! Requests of a day: a daily cycle, bursts of errors, latency with a heavy tail that depends on a load
//! which both versions share, and scores whose mix drifts.

use std::sync::LazyLock;

use fastrand::Rng;
use tidegate_delivery::assign::sequence::Sequence;
use tidegate_delivery::sequential::{Arms, Counts};

/// Bins of latency, each 8 % wider than the one before, from 1 ms.
pub(crate) const LATENCY_BINS: usize = 128;
pub(crate) const LATENCY_GROWTH: f64 = 1.08;
/// Bins of scores: deciles of the good version.
pub(crate) const SCORE_BINS: usize = 10;
const TABLE: usize = 1 << 16;
pub(crate) const ERROR_SHARE: f64 = 0.001;
pub(crate) const MISSING_SHARE: f64 = 0.0005;
/// Mean requests a second.
const RATE: f64 = 100.0;

/// What is wrong with the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    Errors,
    Slow,
    ShiftedScores,
    WrongPreprocessing,
}

impl Defect {
    pub(crate) const ALL: [Self; 4] = [
        Self::Errors,
        Self::Slow,
        Self::ShiftedScores,
        Self::WrongPreprocessing,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Errors => "errors 0.1 % -> 1.1 %",
            Self::Slow => "p99 latency +30 %",
            Self::ShiftedScores => "scores shifted, PSI 0.25",
            Self::WrongPreprocessing => "one of two features x 100",
        }
    }
}

/// Whether versions also have pauses of their own, in which all their requests are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Common,
    OwnPauses,
}

impl World {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Common => "depends on a load that both share",
            Self::OwnPauses => "and each version pauses by itself",
        }
    }
}

/// A second of traffic.
pub(crate) struct Second {
    pub(crate) requests: Arms<u64>,
    pub(crate) errors: Arms<Counts>,
    pub(crate) missing: Arms<Counts>,
    pub(crate) latency: Arms<Vec<u64>>,
    pub(crate) scores: Arms<Vec<u64>>,
}

pub(crate) struct Traffic {
    random: Rng,
    sequence: Sequence,
    defect: Defect,
    world: World,
    second: u64,
    /// The logarithm of how much slower than usual everything is.
    load: f64,
    /// How the mix of requests moves scores, before the sigmoid.
    mix: f64,
    burst_left: u32,
    pauses: Arms<u32>,
}

/// What one version's requests are drawn from.
pub(crate) struct Tables {
    /// Logarithms of milliseconds.
    pub(crate) latency: Vec<f64>,
    pub(crate) scores: Vec<f64>,
}

static GOOD: LazyLock<Tables> = LazyLock::new(|| Tables {
    latency: latencies(1.0),
    scores: scores(0.0, 1.0),
});
static SLOW: LazyLock<Vec<f64>> = LazyLock::new(|| latencies(1.3));
static SHIFTED: LazyLock<Vec<f64>> = LazyLock::new(|| scores(shift_of_psi(0.25), 1.0));
static WRONG: LazyLock<Vec<f64>> = LazyLock::new(|| scores(0.0, 100.0));
/// The deciles of the good version's scores.
static DECILES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut sorted = GOOD.scores.clone();
    sorted.sort_by(f64::total_cmp);
    (1..SCORE_BINS)
        .map(|bin| sorted[bin * TABLE / SCORE_BINS])
        .collect()
});

/// A lognormal body, and of one request in thirty a Pareto tail; the slowest 5 % take `factor` times as
/// long.
fn latencies(factor: f64) -> Vec<f64> {
    let mut random = Rng::with_seed(1);
    let mut drawn: Vec<f64> = (0..TABLE)
        .map(|_| {
            let tail = if random.f64() < 1.0 / 30.0 {
                -random.f64().max(1e-6).ln() / 2.2 + 1.0
            } else {
                0.0
            };
            40_f64.ln() + 0.4 * normal(&mut random) + tail
        })
        .collect();
    let mut sorted = drawn.clone();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[TABLE * 95 / 100];
    drawn
        .iter_mut()
        .filter(|latency| **latency > limit)
        .for_each(|latency| *latency += factor.ln());
    drawn
}

/// Logits of two features, of which the first was multiplied by `scale`.
fn scores(shift: f64, scale: f64) -> Vec<f64> {
    let mut random = Rng::with_seed(2);
    let mut draw = || scale * normal(&mut random) + 0.8 * normal(&mut random) - 0.5 + shift;
    (0..TABLE).map(|_| draw()).collect()
}

/// The shift of normal scores whose deciles have this PSI.
fn shift_of_psi(psi: f64) -> f64 {
    let (mut low, mut high) = (0.0, 3.0);
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        let found = tidegate_delivery::sequential::psi(Arms::new(
            &bins(&scores(middle, 1.0)),
            &bins(&GOOD.scores),
        ));
        if found < psi {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// How many scores fall into each decile of the good version.
pub(crate) fn bins(scores: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; SCORE_BINS];
    scores
        .iter()
        .for_each(|score| counts[score_bin(*score)] += 1);
    counts
}

fn score_bin(score: f64) -> usize {
    DECILES.iter().filter(|decile| score >= **decile).count()
}

pub(crate) fn latency_bin(log_ms: f64) -> usize {
    ((log_ms / LATENCY_GROWTH.ln()).max(0.0) as usize).min(LATENCY_BINS - 1)
}

pub(crate) fn good() -> &'static Tables {
    &GOOD
}

/// What a defect draws its latencies and scores from.
pub(crate) fn tables_of(defect: Defect) -> (&'static [f64], &'static [f64]) {
    let latency = if defect == Defect::Slow {
        &*SLOW
    } else {
        &GOOD.latency
    };
    let scores = match defect {
        Defect::ShiftedScores => &*SHIFTED,
        Defect::WrongPreprocessing => &*WRONG,
        _ => &GOOD.scores,
    };
    (latency, scores)
}

fn normal(random: &mut Rng) -> f64 {
    (-2.0 * random.f64().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

impl Traffic {
    pub(crate) fn new(seed: u64, defect: Defect, world: World) -> Self {
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9).wrapping_add(17));
        Self {
            sequence: Sequence::starting_at(random.u64(..)),
            second: random.u64(0..86_400),
            random,
            defect,
            world,
            load: 0.0,
            mix: 0.0,
            burst_left: 0,
            pauses: Arms::default(),
        }
    }

    /// The next second, of which the new version gets `weight` (in parts of 100 000).
    pub(crate) fn next_second(&mut self, weight: u32) -> Second {
        self.second += 1;
        let day = (self.second as f64 / 86_400.0 * std::f64::consts::TAU).sin();
        self.load = 0.97 * self.load + 0.04 * normal(&mut self.random);
        self.mix = 0.999 * self.mix + 0.01 * normal(&mut self.random);
        if self.random.f64() < 1.0 / 900.0 {
            self.burst_left = 20;
        }
        self.burst_left = self.burst_left.saturating_sub(1);
        self.next_pauses();
        let expected = RATE * (1.0 + 0.6 * day);
        let count = (expected + expected.sqrt() * normal(&mut self.random)).max(0.0) as u64;
        let slower = self.load + 0.3 * day;
        self.draw(count, weight, slower)
    }

    fn next_pauses(&mut self) {
        if self.world == World::Common {
            return;
        }
        for pause in [&mut self.pauses.candidate, &mut self.pauses.control] {
            *pause = pause.saturating_sub(1);
            if self.random.f64() < 1.0 / 300.0 {
                *pause = 2;
            }
        }
    }

    fn draw(&mut self, count: u64, weight: u32, slower: f64) -> Second {
        let mut second = Second {
            requests: Arms::default(),
            errors: Arms::default(),
            missing: Arms::default(),
            latency: Arms::new(vec![0; LATENCY_BINS], vec![0; LATENCY_BINS]),
            scores: Arms::new(vec![0; SCORE_BINS], vec![0; SCORE_BINS]),
        };
        let burst = if self.burst_left > 0 { 20.0 } else { 1.0 };
        let (bad_latency, bad_scores) = tables_of(self.defect);
        let added_errors = if self.defect == Defect::Errors {
            0.01
        } else {
            0.0
        };
        for _ in 0..count {
            let is_new = self.sequence.next_point() < weight;
            let bits = self.random.u64(..);
            let (latency_index, score_index) =
                (bits as usize % TABLE, (bits >> 16) as usize % TABLE);
            let (latencies, scores, added, pause) = if is_new {
                (bad_latency, bad_scores, added_errors, self.pauses.candidate)
            } else {
                (
                    GOOD.latency.as_slice(),
                    GOOD.scores.as_slice(),
                    0.0,
                    self.pauses.control,
                )
            };
            let paused = if pause > 0 { 2.0 } else { 0.0 };
            let latency = latency_bin(latencies[latency_index] + slower + paused);
            let score = score_bin(scores[score_index] + self.mix);
            let is_error = self.random.f64() < ERROR_SHARE * burst + added;
            let is_missing = self.random.f64() < MISSING_SHARE;
            let arm = if is_new {
                second.candidate()
            } else {
                second.control()
            };
            arm.add(latency, score, is_error, is_missing);
        }
        second
    }
}

/// One version's part of a second.
struct ArmOfSecond<'a> {
    requests: &'a mut u64,
    errors: &'a mut Counts,
    missing: &'a mut Counts,
    latency: &'a mut [u64],
    scores: &'a mut [u64],
}

impl ArmOfSecond<'_> {
    fn add(self, latency: usize, score: usize, is_error: bool, is_missing: bool) {
        *self.requests += 1;
        self.errors.requests += 1;
        self.errors.events += u64::from(is_error);
        self.missing.requests += 1;
        self.missing.events += u64::from(is_missing);
        self.latency[latency] += 1;
        self.scores[score] += u64::from(!is_missing);
    }
}

impl Second {
    fn candidate(&mut self) -> ArmOfSecond<'_> {
        ArmOfSecond {
            requests: &mut self.requests.candidate,
            errors: &mut self.errors.candidate,
            missing: &mut self.missing.candidate,
            latency: &mut self.latency.candidate,
            scores: &mut self.scores.candidate,
        }
    }

    fn control(&mut self) -> ArmOfSecond<'_> {
        ArmOfSecond {
            requests: &mut self.requests.control,
            errors: &mut self.errors.control,
            missing: &mut self.missing.control,
            latency: &mut self.latency.control,
            scores: &mut self.scores.control,
        }
    }
}
