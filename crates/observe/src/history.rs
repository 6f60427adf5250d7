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
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;
    /// A whole number of ten minutes.
    const START_MS: u64 = 1_800_000_000_000;

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    fn took(ms: u64) -> FinishedRequest {
        FinishedRequest {
            rows: 2,
            batch_rows: 8,
            total_ns: ms * 1_000_000,
            ..FinishedRequest::default()
        }
    }

    /// One request a second, which takes as many milliseconds as its minute has.
    fn steady(history: &mut History, version: &str, seconds: u64) {
        for second in 0..seconds {
            history.count(
                &name("a"),
                &name(version),
                START_MS + second * 1000,
                &[took(1 + second / 60 % 60)],
            );
        }
    }

    #[test]
    fn sums_are_the_same_however_long_ago() {
        let mut history = History::new(usize::MAX);
        steady(&mut history, "1", 8 * 3600);
        let now_ms = START_MS + 8 * HOUR_MS;
        for (minutes, step_ms) in [
            (10, 10_000),
            (30, 10_000),
            (120, MINUTE_MS),
            (8 * 60, 10 * MINUTE_MS),
        ] {
            let total = history.total("a", None, now_ms - minutes * MINUTE_MS, now_ms);
            assert_eq!(total.answered, minutes * 60, "{minutes} minutes");
            let points = history.points("a", Some("1"), now_ms - minutes * MINUTE_MS, now_ms, 1);
            assert_eq!(points.len() as u64, minutes * MINUTE_MS / step_ms);
            assert!(
                points
                    .iter()
                    .all(|point| point.traffic.answered == step_ms / 1000)
            );
        }
        let hour = history.total("a", None, now_ms - HOUR_MS, now_ms);
        assert!((hour.request.quantile_ms(0.5).unwrap() - 30.0).abs() < 1.0);
        assert_eq!((hour.rows, hour.mean_batch_rows()), (7200, Some(8.0)));
    }

    #[test]
    fn a_short_span_is_found_however_long_ago() {
        let mut history = History::new(usize::MAX);
        steady(&mut history, "1", 8 * 3600);
        let now_ms = START_MS + 8 * HOUR_MS;
        for (hours_ago, step_ms) in [(1, MINUTE_MS), (5, MINUTE_MS), (7, 10 * MINUTE_MS)] {
            let since_ms = now_ms - hours_ago * HOUR_MS;
            let points = history.points("a", None, since_ms, since_ms + 20 * MINUTE_MS, 1);
            assert_eq!(
                points.len() as u64,
                20 * MINUTE_MS / step_ms,
                "{hours_ago} hours ago"
            );
            assert_eq!(
                history
                    .total("a", None, since_ms, since_ms + 20 * MINUTE_MS)
                    .answered,
                20 * 60
            );
        }
    }

    #[test]
    fn a_little_traffic_stays_fine() {
        let mut history = History::new(usize::MAX);
        for hour in 0..48 {
            history.count(
                &name("a"),
                &name("1"),
                START_MS + hour * HOUR_MS,
                &[took(1)],
            );
        }
        let ago = |hours| START_MS + 48 * HOUR_MS - hours * HOUR_MS;
        assert_eq!(history.points("a", None, ago(5), ago(0), 1).len(), 5);
        assert_eq!(history.points("a", None, ago(40), ago(38), 1).len(), 2);
    }

    #[test]
    fn versions_are_apart_and_together() {
        let mut history = History::new(usize::MAX);
        steady(&mut history, "1", 60);
        steady(&mut history, "2", 30);
        let answered = |version| {
            history
                .total("a", version, START_MS, START_MS + MINUTE_MS)
                .answered
        };
        assert_eq!(
            (answered(Some("1")), answered(Some("2")), answered(None)),
            (60, 30, 90)
        );
        assert_eq!(
            history.names(),
            [(name("a"), name("1")), (name("a"), name("2"))]
        );
        assert_eq!(
            history.total("b", None, START_MS, START_MS + MINUTE_MS),
            Traffic::default()
        );
    }

    #[test]
    fn memory_is_bounded_by_time_and_by_bytes() {
        let mut history = History::new(100_000);
        for minute in 0..20 * 24 * 60 {
            let requests: Vec<FinishedRequest> = (0..40).map(|at| took(1 + at * at)).collect();
            history.count(
                &name("a"),
                &name("1"),
                START_MS + minute * MINUTE_MS,
                &requests,
            );
            assert!(history.bytes() < 150_000, "{}", history.bytes());
        }
        let end_ms = START_MS + 20 * 24 * HOUR_MS;
        assert_eq!(
            history
                .total("a", None, end_ms - 2 * HOUR_MS, end_ms)
                .answered,
            120 * 40
        );
        history.count(
            &name("b"),
            &name("1"),
            end_ms + 4 * 24 * HOUR_MS,
            &[took(1)],
        );
        assert_eq!(
            history.names(),
            [(name("b"), name("1"))],
            "what was silent for longer than is kept is forgotten"
        );
    }

    #[test]
    fn a_clock_that_runs_back_loses_nothing() {
        let mut history = History::new(usize::MAX);
        history.count(&name("a"), &name("1"), START_MS + HOUR_MS, &[took(1)]);
        history.count(&name("a"), &name("1"), START_MS, &[took(1)]);
        assert_eq!(
            history
                .total("a", None, START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)
                .answered,
            2
        );
    }
}
