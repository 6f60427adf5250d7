//! Which traces are kept, as operators change it while the server runs: the trace extension of the
//! protocol, by Triton. What is changed ends with the process.
//!
//! Only what has an effect here can be changed: `trace_level` and `trace_rate`. All other settings
//! have one value, and asking for another one is an error.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use serde::Serialize;
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

/// Most models that have settings of their own.
const MAX_MODELS: usize = 1024;

/// Settings whose value cannot be changed, and why.
const FIXED: [(&str, &str, &str); 4] = [
    (
        "trace_file",
        "",
        "traces go to the collector of traces.endpoint",
    ),
    (
        "trace_count",
        "-1",
        "traces do not end after a number of requests",
    ),
    (
        "log_frequency",
        "0",
        "traces are sent as they end, and not in files",
    ),
    ("trace_mode", "opentelemetry", "traces are sent over OTLP"),
];

/// A setting with its values; without values it is as configured again.
pub(crate) type TraceSetting = (String, Vec<String>);

/// Which traces are kept.
pub(crate) struct TraceSettings {
    /// What the configuration says; `None` without a collector.
    configured: Option<f64>,
    changed: ArcSwap<Changes>,
}

/// What was changed since the start.
#[derive(Clone, Debug, Default)]
struct Changes {
    all: Change,
    models: BTreeMap<String, Change>,
}

/// What differs from the wider scope.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Change {
    is_on: Option<bool>,
    sample: Option<f64>,
}

/// The settings as the protocol has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TraceSettingsBody {
    /// `TIMESTAMPS` or `OFF`.
    pub(crate) trace_level: Vec<String>,
    /// Of how many requests one is traced, rounded; 0 for those alone that a client has traced, that
    /// failed or that were slow.
    pub(crate) trace_rate: String,
    /// Always -1: without an end.
    pub(crate) trace_count: String,
    /// Always 0.
    pub(crate) log_frequency: String,
    /// Always empty.
    pub(crate) trace_file: String,
    /// Always `opentelemetry`.
    pub(crate) trace_mode: String,
}

impl TraceSettings {
    /// What these settings are called in the audit log.
    pub(crate) const RESOURCE_KIND: &str = "trace-settings";

    /// Of a server that sends no traces.
    pub(crate) fn without_collector() -> Self {
        Self {
            configured: None,
            changed: ArcSwap::default(),
        }
    }

    /// Of a server that keeps this share of its traces.
    pub(crate) fn new(sample: f64) -> Self {
        Self {
            configured: Some(sample),
            changed: ArcSwap::default(),
        }
    }

    /// The share of traces that are kept of what is called `name`; `None` if none of them may be.
    pub(crate) fn sample(&self, name: &str) -> Option<f64> {
        let configured = self.configured?;
        let changed = self.changed.load();
        let own = changed.models.get(name).copied().unwrap_or_default();
        let is_on = own.is_on.or(changed.all.is_on).unwrap_or(true);
        is_on.then(|| own.sample.or(changed.all.sample).unwrap_or(configured))
    }

    /// The settings of a model; of all models if none is named.
    pub(crate) fn show(&self, model: Option<&str>) -> TraceSettingsBody {
        let sample = self.sample(model.unwrap_or_default());
        let level = sample.map_or("OFF", |_| "TIMESTAMPS");
        let mut body = TraceSettingsBody {
            trace_level: vec![level.to_owned()],
            trace_rate: rate(sample.unwrap_or_default()),
            trace_count: String::new(),
            log_frequency: String::new(),
            trace_file: String::new(),
            trace_mode: String::new(),
        };
        for (name, value, _) in FIXED {
            let field = match name {
                "trace_file" => &mut body.trace_file,
                "trace_count" => &mut body.trace_count,
                "log_frequency" => &mut body.log_frequency,
                _ => &mut body.trace_mode,
            };
            value.clone_into(field);
        }
        body
    }

    /// Changes settings of a model, or those of all models that have none of their own; all of them
    /// or, if one is wrong, none.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidParameter`] for a setting that does not exist, or a value that it cannot
    /// have here.
    pub(crate) fn change(
        &self,
        model: Option<&str>,
        settings: &[TraceSetting],
    ) -> Result<(), InferError> {
        let mut changed = Changes::clone(&self.changed.load());
        let mut change = match model {
            None => changed.all,
            Some(model) => changed.models.get(model).copied().unwrap_or_default(),
        };
        for (name, values) in settings {
            self.apply(&mut change, name, values)?;
        }
        match model {
            None => changed.all = change,
            Some(model) if change == Change::default() => {
                changed.models.remove(model);
            }
            Some(model) => {
                changed.models.insert(model.to_owned(), change);
            }
        }
        if changed.models.len() > MAX_MODELS {
            let message = format!("{MAX_MODELS} models have trace settings already");
            return Err(invalid(message));
        }
        self.changed.store(changed.into());
        Ok(())
    }

    fn apply(&self, change: &mut Change, name: &str, values: &[String]) -> Result<(), InferError> {
        match name {
            "trace_level" => change.is_on = self.level(values)?,
            "trace_rate" => change.sample = self.share(values)?,
            _ => check_fixed(name, values)?,
        }
        Ok(())
    }

    fn level(&self, values: &[String]) -> Result<Option<bool>, InferError> {
        match values {
            [] => Ok(None),
            [level] if level == "OFF" => Ok(Some(false)),
            [level] if level == "TIMESTAMPS" => self.check_collector().map(|()| Some(true)),
            levels => Err(invalid(format!(
                "trace_level {} is not supported: use OFF or TIMESTAMPS; the values of tensors are \
                 never traced",
                shown(&levels.join(", "))
            ))),
        }
    }

    fn share(&self, values: &[String]) -> Result<Option<f64>, InferError> {
        let [rate] = values else {
            return match values {
                [] => Ok(None),
                _ => Err(invalid("trace_rate has one value")),
            };
        };
        let rate: u32 = rate.parse().map_err(|_| {
            let rate = shown(rate);
            invalid(format!(
                "trace_rate {rate} is not a number from 0 to {}",
                u32::MAX
            ))
        })?;
        self.check_collector()?;
        Ok(Some(match rate {
            0 => 0.0,
            rate => 1.0 / f64::from(rate),
        }))
    }

    /// Without a collector nothing would change.
    fn check_collector(&self) -> Result<(), InferError> {
        match self.configured {
            Some(_) => Ok(()),
            None => Err(invalid(
                "there is no collector to send traces to: set traces.endpoint in the configuration",
            )),
        }
    }
}

/// Of how many requests one is traced.
fn rate(sample: f64) -> String {
    match sample > 0.0 {
        true => format!("{:.0}", 1.0 / sample),
        false => "0".to_owned(),
    }
}

/// Refuses another value of a setting that has one only.
fn check_fixed(name: &str, values: &[String]) -> Result<(), InferError> {
    let Some((name, only, why)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) else {
        return Err(invalid(format!(
            "there is no trace setting {}",
            shown(name)
        )));
    };
    match values {
        [] => Ok(()),
        [value] if value == only => Ok(()),
        values => Err(invalid(format!(
            "{name} cannot be {}, only {only:?}: {why}",
            shown(&values.join(", "))
        ))),
    }
}

/// The beginning of what a client sent, in quotes.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(128).collect();
    format!("{text:?}")
}

fn invalid(message: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        settings: &TraceSettings,
        model: Option<&str>,
        pairs: &[(&str, &[&str])],
    ) -> Result<(), InferError> {
        let owned = pairs.iter().map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned());
            ((*name).to_owned(), values.collect())
        });
        settings.change(model, &owned.collect::<Vec<_>>())
    }

    #[test]
    fn a_model_has_what_was_changed_for_it_else_what_all_have() {
        let settings = TraceSettings::new(0.01);
        assert_eq!(settings.show(None).trace_rate, "100");
        change(&settings, None, &[("trace_rate", &["4"])]).unwrap();
        change(&settings, Some("a"), &[("trace_level", &["OFF"])]).unwrap();
        change(&settings, Some("b"), &[("trace_rate", &["0"])]).unwrap();
        let samples = ["a", "b", "c"].map(|name| settings.sample(name));
        assert_eq!(samples, [None, Some(0.0), Some(0.25)]);
        assert_eq!(settings.show(Some("a")).trace_level, ["OFF"]);
        // Cleared settings are those of the wider scope again.
        change(&settings, Some("a"), &[("trace_level", &[])]).unwrap();
        change(&settings, None, &[("trace_rate", &[])]).unwrap();
        assert_eq!(settings.sample("a"), Some(0.01));
        assert_eq!(settings.changed.load().models.len(), 1);
    }

    #[test]
    fn a_setting_without_effect_is_refused_and_nothing_is_changed() {
        let settings = TraceSettings::new(0.5);
        let wrong: [(&str, &[&str]); 9] = [
            ("trace_level", &["TENSORS"]),
            ("trace_level", &["OFF", "TIMESTAMPS"]),
            ("trace_rate", &["-1"]),
            ("trace_rate", &["1", "2"]),
            ("trace_count", &["10"]),
            ("trace_file", &["/tmp/trace.json"]),
            ("log_frequency", &["100"]),
            ("trace_mode", &["triton"]),
            ("color", &["red"]),
        ];
        for (name, values) in wrong {
            let both = [("trace_level", &["OFF"][..]), (name, values)];
            let error = change(&settings, None, &both).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidParameter, "{name}");
            assert_eq!(settings.sample("m"), Some(0.5), "{name}");
        }
        // What they are already may be sent back.
        let shown = settings.show(None);
        let same = [
            ("trace_count", &[&*shown.trace_count][..]),
            ("trace_file", &[&*shown.trace_file]),
            ("trace_mode", &[&*shown.trace_mode]),
        ];
        change(&settings, None, &same).unwrap();
    }

    #[test]
    fn without_a_collector_traces_are_off_and_stay_off() {
        let settings = TraceSettings::without_collector();
        assert_eq!(settings.show(None).trace_level, ["OFF"]);
        change(&settings, None, &[("trace_level", &["OFF"])]).unwrap();
        for pair in [("trace_level", &["TIMESTAMPS"][..]), ("trace_rate", &["1"])] {
            let error = change(&settings, None, &[pair]).unwrap_err();
            assert!(
                error.message.contains("traces.endpoint"),
                "{}",
                error.message
            );
        }
    }
}
