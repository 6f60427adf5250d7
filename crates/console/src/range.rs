//! The range of time that charts show.

use maud::{Markup, html};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The range of a chart, up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Range {
    Quarter,
    #[default]
    Hour,
    SixHours,
    ThreeDays,
}

impl Range {
    /// Every range, the shortest first.
    pub const ALL: [Self; 4] = [Self::Quarter, Self::Hour, Self::SixHours, Self::ThreeDays];

    /// The range that a query names, if it names one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.name() == name)
    }

    /// The range that shows most of a server that has counted for so long, up to the usual one: of
    /// a new server, an hour would be empty but for its end.
    pub fn of_age(age_ms: u64) -> Self {
        match age_ms {
            0..=900_000 => Self::Quarter,
            _ => Self::default(),
        }
    }

    /// Its name in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::ThreeDays => "3d",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Quarter => "15 minutes",
            Self::Hour => "1 hour",
            Self::SixHours => "6 hours",
            Self::ThreeDays => "3 days",
        }
    }

    /// Its length, in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Self::Quarter => 15 * MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::SixHours => 6 * HOUR_MS,
            Self::ThreeDays => 72 * HOUR_MS,
        }
    }

    /// The distance of its points, in milliseconds: about sixty points in all.
    pub const fn step_ms(self) -> u64 {
        match self {
            Self::Quarter => 20_000,
            Self::Hour => MINUTE_MS,
            Self::SixHours => 5 * MINUTE_MS,
            Self::ThreeDays => HOUR_MS,
        }
    }

    /// The distance of the marks of a time axis, in milliseconds.
    pub(crate) const fn mark_ms(self) -> u64 {
        match self {
            Self::Quarter => 3 * MINUTE_MS,
            Self::Hour => 15 * MINUTE_MS,
            Self::SixHours => HOUR_MS,
            Self::ThreeDays => 12 * HOUR_MS,
        }
    }

    /// The choice between ranges of a page.
    pub(crate) fn choice(self, path: &str) -> Markup {
        html! {
            nav aria-label="Time range" {
                ul.ranges {
                    @for range in Self::ALL {
                        li {
                            a href=(format!("{path}?range={}", range.name())) aria-current=[(range == self).then_some("true")] {
                                (range.label())
                            }
                        }
                    }
                }
            }
        }
    }
}
