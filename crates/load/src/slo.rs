//! Objectives that runs are checked against, such as `p99<20ms,errors<0.1%`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::LoadError;
use crate::report::Run;

/// One condition on a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    metric: Metric,
    relation: Relation,
    /// In the unit of the metric: microseconds, a share from 0 to 1, or per second.
    bound: f64,
    /// The text of the user.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// The latency that this share of answers does not exceed.
    Quantile(f64),
    Mean,
    Max,
    /// The share of requests without an answer, for any reason.
    Errors,
    Refusals,
    Throughput,
    Goodput,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Below,
    Above,
}

/// An objective that a run did not meet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Breach {
    /// The run.
    pub run: String,
    /// The objective.
    pub objective: String,
    /// The value that was found instead, and how far off it is.
    pub found: String,
}

/// All objectives of a list separated by commas.
///
/// ```
/// let objectives = tidegate_load::objectives("p99<20ms, errors<0.1%").unwrap();
/// assert_eq!(objectives[0].to_string(), "p99<20ms");
/// assert!(tidegate_load::objectives("p99<20%").is_err());
/// ```
///
/// # Errors
/// Names the first objective that is not valid.
pub fn objectives(list: &str) -> Result<Vec<Objective>, LoadError> {
    list.split(',').map(str::parse).collect()
}

impl Objective {
    /// `None` if a run meets this; else the value that it reached.
    pub fn breach(&self, run: &Run) -> Option<Breach> {
        let found = self.metric.of(run);
        // A run without answers has no latency, and meets no objective on it.
        let is_met = found.is_some_and(|found| match self.relation {
            Relation::Below => found < self.bound,
            Relation::Above => found > self.bound,
        });
        if is_met {
            return None;
        }
        let found = match found {
            None => "there were no answers".to_owned(),
            Some(found) => format!("{}{}", self.metric.show(found), self.distance(found)),
        };
        Some(Breach {
            run: run.label.clone(),
            objective: self.text.clone(),
            found,
        })
    }

    fn distance(&self, found: f64) -> String {
        let more = if found >= self.bound { "over" } else { "under" };
        // There is no percentage of nothing.
        if self.bound == 0.0 {
            return format!(", {more} by as much");
        }
        format!(
            ", {more} by {:.1} %",
            (found / self.bound - 1.0).abs() * 100.0
        )
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: objective {} not met: {}",
            self.run, self.objective, self.found
        )
    }
}

impl FromStr for Objective {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        let text = text.trim();
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| objective_error(text, "it has no < or >"))?;
        let relation = if text[at..].starts_with('<') {
            Relation::Below
        } else {
            Relation::Above
        };
        let metric = Metric::named(text[..at].trim()).ok_or_else(|| {
            let known = "use a percentile such as p50 or p99.9, mean, max, errors, refusals, \
                         throughput or goodput";
            objective_error(text, known)
        })?;
        let bound = metric
            .bound(text[at + 1..].trim())
            .ok_or_else(|| objective_error(text, metric.expected_bound()))?;
        Ok(Self {
            metric,
            relation,
            bound,
            text: text.to_owned(),
        })
    }
}

impl Metric {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mean" => Self::Mean,
            "max" => Self::Max,
            "errors" => Self::Errors,
            "refusals" => Self::Refusals,
            "throughput" => Self::Throughput,
            "goodput" => Self::Goodput,
            _ => {
                let digits = name
                    .strip_prefix('p')
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))?;
                let percent = digits
                    .parse::<f64>()
                    .ok()
                    .filter(|percent| *percent <= 100.0)?;
                Self::Quantile(percent / 100.0)
            }
        })
    }

    fn expected_bound(self) -> &'static str {
        match self {
            Self::Quantile(_) | Self::Mean | Self::Max => {
                "its bound must be a time such as 500us, 20ms or 1.5s"
            }
            Self::Errors | Self::Refusals => "its bound must be a share such as 0.1%",
            Self::Throughput | Self::Goodput => "its bound must be a number per second",
        }
    }

    fn bound(self, text: &str) -> Option<f64> {
        let bound = match self {
            Self::Quantile(_) | Self::Mean | Self::Max => time_us(text)?,
            Self::Errors | Self::Refusals => {
                text.strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0
            }
            Self::Throughput | Self::Goodput => text.trim_end_matches("/s").trim().parse().ok()?,
        };
        // `parse` takes "inf" and "nan", which are no use as a bound.
        Some(bound).filter(|bound| bound.is_finite() && *bound >= 0.0)
    }

    fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Quantile(quantile) => run.quantile_us(quantile),
            Self::Mean => run.latency_us.as_ref().map(|latency| latency.mean),
            Self::Max => run.latency_us.as_ref().map(|latency| latency.max),
            // All that were not answered, so that refusals count as errors here too.
            Self::Errors => Some(share(run.requests - run.answers, run.requests)),
            Self::Refusals => Some(share(run.refusals, run.requests)),
            Self::Throughput => Some(run.throughput_per_s),
            // Without a deadline, every answer is in time.
            Self::Goodput => Some(run.goodput_per_s.unwrap_or(run.throughput_per_s)),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Quantile(_) | Self::Mean | Self::Max => crate::report::time(value),
            Self::Errors | Self::Refusals => format!("{:.3} %", value * 100.0),
            Self::Throughput | Self::Goodput => format!("{value:.1}/s"),
        }
    }
}

fn objective_error(text: &str, problem: &str) -> LoadError {
    LoadError::Objective {
        given: text.to_owned(),
        problem: problem.to_owned(),
    }
}

fn share(count: u64, total: u64) -> f64 {
    match total {
        0 => 0.0,
        _ => count as f64 / total as f64,
    }
}

/// A time with its unit, in microseconds.
fn time_us(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_alphabetic() || c == 'µ')?;
    let number: f64 = text[..at].trim().parse().ok()?;
    let unit = match &text[at..] {
        "ns" => 1e-3,
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number * unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::tests::run_of;

    #[test]
    fn lists_of_objectives_are_read_in_their_units() {
        let [p99, errors, throughput] = objectives("p99<20ms, errors<0.1% ,throughput>1000/s")
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(
            (p99.metric, p99.relation, p99.bound),
            (Metric::Quantile(0.99), Relation::Below, 20_000.0)
        );
        assert_eq!((errors.metric, errors.bound), (Metric::Errors, 0.001));
        assert_eq!(
            (throughput.relation, throughput.bound),
            (Relation::Above, 1000.0)
        );
        assert_eq!(
            "p99.9<1.5s".parse::<Objective>().unwrap().bound,
            1_500_000.0
        );
        for wrong in [
            "", "p99", "p99=3ms", "p99<20", "p101<1s", "p<1s", "errors<1", "speed<1s", "mean<-1s",
            "max<1h",
        ] {
            assert!(objectives(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_breach_says_what_was_found_and_how_far_off() {
        // 1 ms to 100 ms, and one failure in a hundred and one.
        let run = run_of(&(1..=100).map(|ms| ms * 1000).collect::<Vec<u64>>(), 1);
        let breach = |text: &str| text.parse::<Objective>().unwrap().breach(&run);
        assert_eq!(breach("p50<60ms"), None);
        assert_eq!(breach("errors<1%"), None);
        let slow = breach("p99<50ms").unwrap();
        assert!(
            slow.found.starts_with("99.") && slow.found.contains("over by 98."),
            "{slow}"
        );
        assert!(breach("errors<0.5%").unwrap().found.contains("0.990 %"));
        let none = run_of(&[], 3);
        let silent = "p99<50ms"
            .parse::<Objective>()
            .unwrap()
            .breach(&none)
            .unwrap();
        assert_eq!(silent.found, "there were no answers");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = objectives(&text);
        }
    }
}
