//! Messages of the trace and logging extensions.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tidegate_protocol::inference as pb;
use tidegate_protocol::inference::log_settings_request::setting_value::ParameterChoice as Given;
use tidegate_protocol::inference::log_settings_response::setting_value::ParameterChoice as Shown;
use tidegate_protocol::inference::{log_settings_response, trace_setting_response};

use crate::log_settings::LogSettingsBody;
use crate::traces::{TraceSetting, TraceSettingsBody};

/// The settings that a request changes; none if it only asks for them.
pub(super) fn trace_settings(
    settings: HashMap<String, pb::trace_setting_request::SettingValue>,
) -> Vec<TraceSetting> {
    let settings = settings.into_iter();
    settings.map(|(name, value)| (name, value.value)).collect()
}

pub(super) fn trace_response(body: TraceSettingsBody) -> pb::TraceSettingResponse {
    let settings = [
        ("trace_level", body.trace_level),
        ("trace_rate", vec![body.trace_rate]),
        ("trace_count", vec![body.trace_count]),
        ("log_frequency", vec![body.log_frequency]),
        ("trace_file", vec![body.trace_file]),
        ("trace_mode", vec![body.trace_mode]),
    ];
    let settings = settings.into_iter().map(|(name, value)| {
        let value = trace_setting_response::SettingValue { value };
        (name.to_owned(), value)
    });
    pb::TraceSettingResponse {
        settings: settings.collect(),
    }
}

/// The settings that a request changes; none if it only asks for them.
pub(super) fn log_settings(
    settings: HashMap<String, pb::log_settings_request::SettingValue>,
) -> Map<String, Value> {
    let settings = settings.into_iter().map(|(name, value)| {
        let value = match value.parameter_choice {
            None => Value::Null,
            Some(Given::BoolParam(flag)) => flag.into(),
            Some(Given::Uint32Param(number)) => number.into(),
            Some(Given::StringParam(text)) => text.into(),
        };
        (name, value)
    });
    settings.collect()
}

pub(super) fn log_response(body: LogSettingsBody) -> pb::LogSettingsResponse {
    let settings = [
        ("log_file", Shown::StringParam(body.log_file)),
        ("log_info", Shown::BoolParam(body.log_info)),
        ("log_warning", Shown::BoolParam(body.log_warning)),
        ("log_error", Shown::BoolParam(body.log_error)),
        (
            "log_verbose_level",
            Shown::Uint32Param(body.log_verbose_level),
        ),
        ("log_format", Shown::StringParam(body.log_format)),
    ];
    let settings = settings.into_iter().map(|(name, value)| {
        let value = log_settings_response::SettingValue {
            parameter_choice: Some(value),
        };
        (name.to_owned(), value)
    });
    pb::LogSettingsResponse {
        settings: settings.collect(),
    }
}
