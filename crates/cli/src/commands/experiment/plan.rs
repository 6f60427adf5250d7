//! `tidegate experiment plan`.

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use tidegate_delivery::experiment::plan;

use crate::output::{print_json, print_text};

/// Of shares, such as a conversion rate, by default; of means with --deviation.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The share of the control, such as 0.05 for 5 %
    #[arg(long, value_name = "SHARE", required_unless_present = "deviation")]
    base: Option<f64>,
    /// The standard deviation of the values whose means are compared
    #[arg(long, value_name = "VALUE", conflicts_with = "base")]
    deviation: Option<f64>,
    /// The smallest difference that must be found: of shares, or of means
    #[arg(long, value_name = "DIFFERENCE", allow_hyphen_values = true)]
    effect: f64,
    /// The chance to find a difference that is none
    #[arg(long, value_name = "CHANCE", default_value_t = 0.05)]
    alpha: f64,
    /// The chance to find a difference of that size
    #[arg(long, value_name = "CHANCE", default_value_t = 0.8)]
    power: f64,
    /// The share of the requests that the new version gets
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    share: f64,
    /// Requests in a day, to show how long it takes
    #[arg(long, value_name = "REQUESTS")]
    daily: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a comparison needs if it is looked at once, at the end.
#[derive(Debug, Serialize)]
struct Needed {
    candidate: f64,
    control: f64,
    total: f64,
    days: Option<f64>,
}

impl Plan {
    pub(super) fn run(self) -> Result<()> {
        let needed = self.needed()?;
        if self.json {
            print_json(&needed)?;
        } else {
            print_text(&needed.text());
        }
        Ok(())
    }

    fn needed(&self) -> Result<Needed> {
        for (name, chance) in [
            ("--alpha", self.alpha),
            ("--power", self.power),
            ("--share", self.share),
        ] {
            if !is_inside(chance) {
                bail!("{name} must be above 0 and below 1");
            }
        }
        if self.effect == 0.0 || !self.effect.is_finite() {
            bail!("--effect must be a number other than 0");
        }
        let ratio = (1.0 - self.share) / self.share;
        let candidate = match (self.base, self.deviation) {
            (_, Some(deviation)) if deviation > 0.0 && deviation.is_finite() => {
                plan::means(self.effect, deviation, self.alpha, self.power, ratio)
            }
            (_, Some(_)) => bail!("--deviation must be above 0"),
            (base, None) => self.of_shares(base.unwrap_or_default(), ratio)?,
        };
        let candidate = candidate.ceil();
        let control = (candidate * ratio).ceil();
        let total = candidate + control;
        let days = match self.daily {
            Some(daily) if daily > 0.0 => Some(total / daily),
            Some(_) => bail!("--daily must be above 0"),
            None => None,
        };
        Ok(Needed {
            candidate,
            control,
            total,
            days,
        })
    }

    fn of_shares(&self, base: f64, ratio: f64) -> Result<f64> {
        if !is_inside(base) {
            bail!("--base must be above 0 and below 1");
        }
        if !is_inside(base + self.effect) {
            bail!("--base and --effect together must be above 0 and below 1");
        }
        let (alpha, power) = (self.alpha, self.power);
        Ok(plan::proportions(base, self.effect, alpha, power, ratio))
    }
}

impl Needed {
    fn text(&self) -> String {
        let Self {
            candidate,
            control,
            total,
            days,
        } = self;
        let mut text =
            format!("{total} requests: {candidate} of the new version, {control} of the control\n");
        if let Some(days) = days {
            text.push_str(&format!("{days:.1} days\n"));
        }
        text.push_str("if it is looked at once, at the end\n");
        text
    }
}

/// Whether a share or a chance is neither impossible nor certain.
fn is_inside(share: f64) -> bool {
    share > 0.0 && share < 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base: Option<f64>, deviation: Option<f64>, effect: f64) -> Plan {
        Plan {
            base,
            deviation,
            effect,
            alpha: 0.05,
            power: 0.8,
            share: 0.5,
            daily: Some(1000.0),
            json: false,
        }
    }

    #[test]
    fn a_plan_has_the_sample_size_of_textbooks() {
        let needed = plan(Some(0.1), None, 0.02).needed().unwrap();
        assert_eq!((needed.candidate, needed.control), (3841.0, 3841.0));
        assert!((needed.days.unwrap() - 7.682).abs() < 1e-9);
        // 2 (1.959964 + 0.841621)² = 15.698 values a unit of deviation (Cohen, "Statistical power
        // analysis", 1988).
        let needed = plan(None, Some(1.0), 1.0).needed().unwrap();
        assert_eq!(needed.total, 32.0);
        let down = plan(Some(0.1), None, -0.02).needed().unwrap();
        assert!(down.candidate < 3841.0);
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        for (base, effect) in [(0.0, 0.1), (1.0, 0.1), (0.95, 0.1), (0.1, -0.2), (0.1, 0.0)] {
            assert!(plan(Some(base), None, effect).needed().is_err());
        }
        assert!(plan(None, Some(-1.0), 0.1).needed().is_err());
        assert!(plan(None, Some(f64::NAN), 0.1).needed().is_err());
        assert!(plan(Some(0.1), None, f64::NAN).needed().is_err());
    }
}
