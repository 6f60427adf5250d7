//! Counts and times of requests over time, by model and version, in bounded memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::traffic::{FinishedRequest, Traffic};

/// The steps in which traffic is remembered, and for how long, the finest first.
const TIERS: [TierSize; 3] = [
    TierSize {
        step_ms: 10_000,
        points: 180,
    },
    TierSize {
        step_ms: 60_000,
        points: 360,
    },
    TierSize {
        step_ms: 600_000,
        points: 432,
    },
];
/// Most versions that are remembered; beyond that, the one without requests for longest is forgotten.
const MOST_SERIES: usize = 5_000;

#[derive(Clone, Copy)]
struct TierSize {
    step_ms: u64,
    points: usize,
}

impl TierSize {
    fn reach_ms(self) -> u64 {
        self.step_ms * self.points as u64
    }
}

/// A model and a version of it.
type Name = (Arc<str>, Arc<str>);

/// The traffic of every version: by 10 seconds for half an hour, by minutes for 6 hours, by 10
/// minutes for 3 days. Times are Unix milliseconds and come from the caller.
///
/// A version that has been busy for 3 days takes some 2 MB, an idle one next to nothing. If all
/// together take more than the budget, each gives up the oldest quarter of each kind.
#[derive(Debug)]
pub struct History {
    series: HashMap<Name, Series>,
    budget_bytes: usize,
    swept_ms: u64,
}

/// The traffic of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Where it begins, in Unix milliseconds.
    pub at_ms: u64,
    /// Its traffic.
    pub traffic: Traffic,
}

impl History {
    /// An empty history that takes about this many bytes at most.
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            series: HashMap::new(),
            budget_bytes,
            swept_ms: 0,
        }
    }

    /// Counts requests of one version that ended at a moment.
    pub fn count<'a>(
        &mut self,
        model: &Arc<str>,
        version: &Arc<str>,
        at_ms: u64,
        requests: impl IntoIterator<Item = &'a FinishedRequest>,
    ) {
        // Swept once for each of the finest points: only then does anything become too old.
        if at_ms / TIERS[0].step_ms != self.swept_ms / TIERS[0].step_ms {
            self.sweep(at_ms);
        }
        let name = (model.clone(), version.clone());
        let open = self.series.entry(name).or_default().open(at_ms);
        requests.into_iter().for_each(|request| open.count(request));
    }

    /// The models and versions that are remembered, sorted.
    pub fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self.series.keys().cloned().collect();
        // The order of a hash map differs from call to call, which would make answers flicker.
        names.sort();
        names
    }

    /// The traffic of a model, or of one version of it, from one moment to before another.
    pub fn total(
        &self,
        model: &str,
        version: Option<&str>,
        since_ms: u64,
        until_ms: u64,
    ) -> Traffic {
        self.of(model, version)
            .fold(Traffic::default(), |mut sum, series| {
                sum.merge(&series.total(since_ms, until_ms));
                sum
            })
    }

    /// The traffic of every version from one moment to before another, sorted by model and version.
    pub fn totals(&self, since_ms: u64, until_ms: u64) -> Vec<(Name, Traffic)> {
        let totals = self
            .series
            .iter()
            .map(|(name, series)| (name.clone(), series.total(since_ms, until_ms)));
        let mut totals: Vec<_> = totals.collect();
        totals.sort_by(|(one, _), (other, _)| one.cmp(other));
        totals
    }

    /// The traffic of a model, or of one version of it, over time, in steps of `step_ms` or, where
    /// nothing as fine is remembered that long, the next coarser step. Steps without requests are
    /// left out.
    pub fn points(
        &self,
        model: &str,
        version: Option<&str>,
        since_ms: u64,
        until_ms: u64,
        step_ms: u64,
    ) -> Vec<Point> {
        let step_ms = self.step_ms(model, version, since_ms, step_ms);
        let mut points = BTreeMap::<u64, Traffic>::new();
        for (at_ms, traffic) in self
            .of(model, version)
            .flat_map(|series| series.within(since_ms, until_ms))
        {
            points
                .entry(at_ms / step_ms * step_ms)
                .or_default()
                .merge(traffic);
        }
        points
            .into_iter()
            .map(|(at_ms, traffic)| Point { at_ms, traffic })
            .collect()
    }

    /// The step of [`History::points`] that are read from a moment on in steps of `step_ms`.
    pub fn step_ms(&self, model: &str, version: Option<&str>, since_ms: u64, step_ms: u64) -> u64 {
        let coarsest = self
            .of(model, version)
            // The coarsest of all versions: their points can only be added up if they lie in the
            // same steps.
            .map(|series| series.reaching(since_ms))
            .max()
            .unwrap_or(0);
        step_ms.max(TIERS[coarsest].step_ms)
    }

    /// The versions of a model that are remembered, sorted as text.
    pub fn versions(&self, model: &str) -> Vec<Arc<str>> {
        let own = self
            .series
            .keys()
            .filter(|(of, _)| **of == *model)
            .map(|(_, version)| version.clone());
        let mut versions: Vec<Arc<str>> = own.collect();
        versions.sort();
        versions
    }

    fn of(&self, model: &str, version: Option<&str>) -> impl Iterator<Item = &Series> {
        self.series
            .iter()
            .filter(move |(name, _)| is_of(name, model, version))
            .map(|(_, series)| series)
    }

    /// The bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.series.values().map(Series::bytes).sum()
    }

    /// Removes points that are too old, and those beyond the budget.
    fn sweep(&mut self, now_ms: u64) {
        self.swept_ms = now_ms;
        self.series.retain(|_, series| {
            series.forget(now_ms);
            !series.is_empty()
        });
        // The memory of a version that nobody calls any more is of the least use.
        while self.series.len() > MOST_SERIES {
            let Some(name) = self
                .series
                .iter()
                .min_by_key(|(_, series)| series.last_ms())
                .map(|(name, _)| name.clone())
            else {
                break;
            };
            self.series.remove(&name);
        }
        // A quarter at once, so that the next sweeps find enough memory.
        if self.bytes() > self.budget_bytes {
            self.series.values_mut().for_each(Series::give_up_a_quarter);
        }
    }
}

fn is_of((of_model, of_version): &Name, model: &str, version: Option<&str>) -> bool {
    **of_model == *model && version.is_none_or(|version| **of_version == *version)
}

/// The history of one version. The last point of each tier is open; when a later one begins, it is
/// closed, and what it counted is added to the open point of the next coarser tier.
#[derive(Debug, Default)]
struct Series {
    tiers: [VecDeque<Point>; TIERS.len()],
    /// Where the last point ended that each tier has given up.
    lost_ms: [u64; TIERS.len()],
}

impl Series {
    /// The point that counts now. A clock that ran back counts in the last point.
    fn open(&mut self, at_ms: u64) -> &mut Traffic {
        let at_ms = at_ms.max(self.last_ms());
        self.push(0, at_ms, None);
        let last = self.tiers[0].back_mut().expect("a point was opened");
        &mut last.traffic
    }

    /// Opens the point of a moment in a tier, and adds `traffic` to it.
    fn push(&mut self, tier: usize, at_ms: u64, traffic: Option<&Traffic>) {
        let start_ms = at_ms / TIERS[tier].step_ms * TIERS[tier].step_ms;
        let is_open = self.tiers[tier]
            .back()
            .is_some_and(|last| last.at_ms == start_ms);
        if !is_open {
            // Only a closed point is passed on: an open one would be counted twice in the coarser tier.
            if let Some(mut closed) = self.tiers[tier].pop_back() {
                // A closed point never grows again, and there are hundreds for each version.
                closed.traffic.shrink();
                if tier + 1 < TIERS.len() {
                    self.push(tier + 1, closed.at_ms, Some(&closed.traffic));
                }
                self.tiers[tier].push_back(closed);
            }
            self.tiers[tier].push_back(Point {
                at_ms: start_ms,
                traffic: Traffic::default(),
            });
            let surplus = self.tiers[tier].len().saturating_sub(TIERS[tier].points);
            self.give_up(tier, surplus);
        }
        if let (Some(last), Some(traffic)) = (self.tiers[tier].back_mut(), traffic) {
            last.traffic.merge(traffic);
        }
    }

    /// The traffic from one moment to before another, added up.
    fn total(&self, since_ms: u64, until_ms: u64) -> Traffic {
        self.within(since_ms, until_ms)
            .fold(Traffic::default(), |mut sum, (_, traffic)| {
                sum.merge(traffic);
                sum
            })
    }

    /// The finest tier that has everything since a moment; else the one that has most.
    fn reaching(&self, since_ms: u64) -> usize {
        self.lost_ms
            .iter()
            .position(|lost_ms| *lost_ms <= since_ms)
            .unwrap_or(TIERS.len() - 1)
    }

    /// The points from one moment to before another, of the finest tier that reaches back to the
    /// first.
    fn within(&self, since_ms: u64, until_ms: u64) -> impl Iterator<Item = (u64, &Traffic)> {
        let tier = self.reaching(since_ms);
        let step_ms = TIERS[tier].step_ms;
        // A point that began before `since_ms` counts whole if it ends after it.
        self.tier(tier)
            .filter(move |(at_ms, _)| at_ms + step_ms > since_ms && *at_ms < until_ms)
    }

    /// The points of a tier, with what finer tiers still hold open.
    fn tier(&self, tier: usize) -> impl Iterator<Item = (u64, &Traffic)> {
        // Without these the newest ten minutes would be missing from a coarse view.
        let open = self.tiers[..tier].iter().filter_map(VecDeque::back);
        let step_ms = TIERS[tier].step_ms;
        let points = self.tiers[tier].iter().chain(open);
        points.map(move |point| (point.at_ms / step_ms * step_ms, &point.traffic))
    }

    fn forget(&mut self, now_ms: u64) {
        for (tier, size) in TIERS.into_iter().enumerate() {
            // One step more than it reaches: the oldest point that still counts may have begun
            // before.
            let first_ms = now_ms.saturating_sub(size.reach_ms() + size.step_ms);
            // The last one is open: what it has is nowhere else yet.
            let closed = self.tiers[tier].len().saturating_sub(1);
            let old = self.tiers[tier]
                .iter()
                .take(closed)
                .take_while(|point| point.at_ms < first_ms)
                .count();
            self.give_up(tier, old);
        }
        let reach_ms = TIERS.map(TierSize::reach_ms).into_iter().max().unwrap_or(0);
        if self.last_ms() + reach_ms < now_ms {
            self.tiers.iter_mut().for_each(VecDeque::clear);
        }
    }

    fn give_up_a_quarter(&mut self) {
        for tier in 0..TIERS.len() {
            self.give_up(tier, self.tiers[tier].len() / 4);
        }
    }

    /// Gives up the oldest points of a tier.
    fn give_up(&mut self, tier: usize, count: usize) {
        if let Some(last) = self.tiers[tier].drain(..count).next_back() {
            self.lost_ms[tier] = last.at_ms + TIERS[tier].step_ms;
        }
    }

    fn is_empty(&self) -> bool {
        self.tiers.iter().all(VecDeque::is_empty)
    }

    fn last_ms(&self) -> u64 {
        self.tiers[0].back().map_or(0, |point| point.at_ms)
    }

    fn bytes(&self) -> usize {
        self.tiers
            .iter()
            .flatten()
            .map(|point| point.traffic.bytes())
            .sum()
    }
}

#[cfg(test)]
mod tests;
