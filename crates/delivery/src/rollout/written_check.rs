//! A check as it is written in TOML or JSON.

use serde::{Deserialize, Serialize};

use super::check::{Check, CheckAction, CheckKind};
use crate::sequential::Unit;

/// The written form of a [`Check`]: the keys of all kinds side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCheck {
    name: String,
    metric: String,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantile: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    growth: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bins: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_effect: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    higher_is_better: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    #[serde(default)]
    action: CheckAction,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Share,
    Quantile,
    Distribution,
    Mean,
    Limit,
    External,
}

/// Bins of latency are a tenth wider than the one before, unless somebody says otherwise.
const DEFAULT_GROWTH: f64 = 1.1;

impl TryFrom<WrittenCheck> for Check {
    type Error = String;

    fn try_from(mut written: WrittenCheck) -> Result<Self, Self::Error> {
        let kind = written.take_kind()?;
        if let Some(key) = written.first_key_left() {
            return Err(format!(
                "check {:?}: {key} has no meaning for its kind",
                written.name
            ));
        }
        Ok(Self {
            name: written.name,
            metric: written.metric,
            kind,
            alpha: written.alpha,
            action: written.action,
        })
    }
}

impl WrittenCheck {
    /// Takes the keys that the kind has.
    fn take_kind(&mut self) -> Result<CheckKind, String> {
        let name = self.name.clone();
        let missing = |key: &str| format!("check {name:?} needs {key}");
        Ok(match self.kind {
            Kind::Share => CheckKind::Share {
                min_effect: self.min_effect.take().unwrap_or_default(),
                higher_is_better: self.higher_is_better.take().unwrap_or_default(),
                unit: self.unit.take().unwrap_or(Unit::Request),
            },
            Kind::Quantile => CheckKind::Quantile {
                quantile: self.quantile.take().ok_or_else(|| missing("quantile"))?,
                growth: self.growth.take().unwrap_or(DEFAULT_GROWTH),
                min_effect: self.min_effect.take().unwrap_or_default(),
                unit: self.unit.take().unwrap_or(Unit::Block),
            },
            Kind::Distribution => CheckKind::Distribution {
                bins: self.bins.take().ok_or_else(|| missing("bins"))?,
                classes: self.classes.take().unwrap_or_default(),
                min_effect: self.min_effect.take().unwrap_or_default(),
            },
            Kind::Mean => CheckKind::Mean {
                min_effect: self.min_effect.take().unwrap_or_default(),
                higher_is_better: self.higher_is_better.take().unwrap_or_default(),
            },
            Kind::Limit => CheckKind::Limit {
                limit: self.limit.take().ok_or_else(|| missing("limit"))?,
            },
            Kind::External => CheckKind::External,
        })
    }

    fn first_key_left(&self) -> Option<&'static str> {
        let keys = [
            ("quantile", self.quantile.is_some()),
            ("growth", self.growth.is_some()),
            ("bins", self.bins.is_some()),
            ("classes", self.classes.is_some()),
            ("limit", self.limit.is_some()),
            ("min_effect", self.min_effect.is_some()),
            ("higher_is_better", self.higher_is_better.is_some()),
            ("unit", self.unit.is_some()),
        ];
        keys.into_iter()
            .find(|(_, is_left)| *is_left)
            .map(|(key, _)| key)
    }
}

impl From<Check> for WrittenCheck {
    fn from(check: Check) -> Self {
        let mut written = Self {
            name: check.name,
            metric: check.metric,
            kind: Kind::External,
            quantile: None,
            growth: None,
            bins: None,
            classes: None,
            limit: None,
            min_effect: None,
            higher_is_better: None,
            unit: None,
            alpha: check.alpha,
            action: check.action,
        };
        match check.kind {
            CheckKind::Share {
                min_effect,
                higher_is_better,
                unit,
            } => {
                written.unit = Some(unit);
                written.kind = Kind::Share;
                written.min_effect = Some(min_effect);
                written.higher_is_better = Some(higher_is_better);
            }
            CheckKind::Quantile {
                quantile,
                growth,
                min_effect,
                unit,
            } => {
                written.unit = Some(unit);
                written.kind = Kind::Quantile;
                written.quantile = Some(quantile);
                written.growth = Some(growth);
                written.min_effect = Some(min_effect);
            }
            CheckKind::Distribution {
                bins,
                classes,
                min_effect,
            } => {
                written.classes = Some(classes);
                written.kind = Kind::Distribution;
                written.bins = Some(bins);
                written.min_effect = Some(min_effect);
            }
            CheckKind::Mean {
                min_effect,
                higher_is_better,
            } => {
                written.kind = Kind::Mean;
                written.min_effect = Some(min_effect);
                written.higher_is_better = Some(higher_is_better);
            }
            CheckKind::Limit { limit } => {
                written.kind = Kind::Limit;
                written.limit = Some(limit);
            }
            CheckKind::External => {}
        }
        written
    }
}
