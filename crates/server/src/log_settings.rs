//! Which lines the log has, as operators change it while the server runs: the logging extension of
//! the protocol, by Triton. What is changed ends with the process.

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_serving::{ErrorCode, InferError};
use utoipa::ToSchema;

/// Which lines the log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLevels {
    /// Errors.
    pub error: bool,
    /// Warnings.
    pub warning: bool,
    /// What happens in the course of things.
    pub info: bool,
    /// 0 for no more, 1 for debugging, 2 for every step.
    pub verbose: u32,
}

/// How to change the log of the process.
#[derive(Clone, Copy, Debug)]
pub struct LogControl {
    /// The lines that the log has at the start.
    pub configured: fn() -> LogLevels,
    /// Changes them.
    pub apply: fn(LogLevels) -> Result<(), String>,
}

/// The settings of the log.
#[derive(Debug)]
pub(crate) struct LogSettings {
    control: Option<LogControl>,
    current: Mutex<Option<LogLevels>>,
}

/// The settings as the protocol has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LogSettingsBody {
    /// Always empty: the log goes to standard error.
    pub(crate) log_file: String,
    pub(crate) log_info: bool,
    pub(crate) log_warning: bool,
    pub(crate) log_error: bool,
    /// 0 for no more, 1 for debugging, 2 for every step.
    pub(crate) log_verbose_level: u32,
    /// Always `ISO8601`.
    pub(crate) log_format: String,
}

impl LogSettings {
    /// What the log is called in the audit log.
    pub(crate) const RESOURCE_KIND: &str = "log-settings";
    /// The only format of times.
    const FORMAT: &str = "ISO8601";

    pub(crate) fn new(control: Option<LogControl>) -> Self {
        Self {
            control,
            current: Mutex::default(),
        }
    }

    /// The settings now.
    ///
    /// # Errors
    /// [`ErrorCode::MethodNotAllowed`] where the log is not the server's.
    pub(crate) fn show(&self) -> Result<LogSettingsBody, InferError> {
        let control = self.control()?;
        let levels = *self.current.lock();
        let levels = levels.unwrap_or_else(control.configured);
        Ok(LogSettingsBody {
            log_file: String::new(),
            log_info: levels.info,
            log_warning: levels.warning,
            log_error: levels.error,
            log_verbose_level: levels.verbose,
            log_format: Self::FORMAT.to_owned(),
        })
    }

    /// Changes settings: all of them or, if one is wrong, none. `null` stands for what is configured.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidParameter`] for a setting that does not exist, or a value that it cannot
    /// have here; [`ErrorCode::MethodNotAllowed`] where the log is not the server's.
    pub(crate) fn change(&self, settings: &Map<String, Value>) -> Result<(), InferError> {
        let control = self.control()?;
        let configured = (control.configured)();
        // Held until they apply: of two changes, the later one must be in effect.
        let mut current = self.current.lock();
        let mut levels = current.unwrap_or(configured);
        for (name, value) in settings {
            set(&mut levels, configured, name, value)?;
        }
        (control.apply)(levels).map_err(|error| InferError::new(ErrorCode::Internal, error))?;
        *current = Some(levels);
        Ok(())
    }

    /// The settings, for the audit log.
    pub(crate) fn audit_state(&self) -> Value {
        self.show().map_or(Value::Null, |body| {
            serde_json::to_value(body).unwrap_or_default()
        })
    }

    fn control(&self) -> Result<LogControl, InferError> {
        self.control.ok_or_else(|| {
            let message = "the log of this process is not the server's to change";
            InferError::new(ErrorCode::MethodNotAllowed, message)
        })
    }
}

fn set(
    levels: &mut LogLevels,
    configured: LogLevels,
    name: &str,
    value: &Value,
) -> Result<(), InferError> {
    match name {
        "log_error" => levels.error = flag(name, value, configured.error)?,
        "log_warning" => levels.warning = flag(name, value, configured.warning)?,
        "log_info" => levels.info = flag(name, value, configured.info)?,
        "log_verbose_level" => levels.verbose = verbosity(value, configured.verbose)?,
        "log_file" => check_fixed(name, value, "", "the log goes to standard error")?,
        "log_format" => {
            let why = "log.format chooses text or JSON at the start";
            check_fixed(name, value, LogSettings::FORMAT, why)?;
        }
        _ => {
            let name: String = name.chars().take(128).collect();
            return Err(invalid(format!("there is no log setting {name:?}")));
        }
    }
    Ok(())
}

fn flag(name: &str, value: &Value, configured: bool) -> Result<bool, InferError> {
    match value {
        Value::Null => Ok(configured),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(invalid(format!("{name} must be true or false"))),
    }
}

fn verbosity(value: &Value, configured: u32) -> Result<u32, InferError> {
    if value.is_null() {
        return Ok(configured);
    }
    match value.as_u64() {
        Some(level @ 0..=2) => Ok(level as u32),
        _ => Err(invalid(
            "log_verbose_level must be 0, 1 (debugging) or 2 (every step)",
        )),
    }
}

/// Refuses another value of a setting that has one only.
fn check_fixed(name: &str, value: &Value, only: &str, why: &str) -> Result<(), InferError> {
    match value.is_null() || value == only {
        true => Ok(()),
        false => Err(invalid(format!("{name} can only be {only:?}: {why}"))),
    }
}

fn invalid(message: impl Into<String>) -> InferError {
    InferError::new(ErrorCode::InvalidParameter, message.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONFIGURED: LogLevels = LogLevels {
        error: true,
        warning: true,
        info: false,
        verbose: 0,
    };

    fn settings() -> LogSettings {
        LogSettings::new(Some(LogControl {
            configured: || CONFIGURED,
            apply: |levels| match levels.error || levels.warning {
                true => Ok(()),
                false => Err("refused".to_owned()),
            },
        }))
    }

    fn change(settings: &LogSettings, value: &Value) -> Result<(), InferError> {
        settings.change(value.as_object().unwrap())
    }

    #[test]
    fn settings_change_and_null_is_what_is_configured() {
        let settings = settings();
        change(
            &settings,
            &json!({"log_info": true, "log_verbose_level": 2}),
        )
        .unwrap();
        let shown = settings.show().unwrap();
        assert_eq!((shown.log_info, shown.log_verbose_level), (true, 2));
        change(&settings, &json!({"log_info": null, "log_file": ""})).unwrap();
        let shown = settings.show().unwrap();
        assert_eq!((shown.log_info, shown.log_verbose_level), (false, 2));
    }

    #[test]
    fn what_has_no_effect_here_is_refused_and_nothing_is_changed() {
        let settings = settings();
        let before = settings.show().unwrap();
        for wrong in [
            json!({"log_info": true, "log_file": "/tmp/log"}),
            json!({"log_info": true, "log_format": "default"}),
            json!({"log_info": true, "log_verbose_level": 3}),
            json!({"log_info": true, "log_warning": "no"}),
            json!({"log_info": true, "log_color": 1}),
        ] {
            let error = change(&settings, &wrong).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidParameter, "{wrong}");
            assert_eq!(settings.show().unwrap(), before, "{wrong}");
        }
        let failing = json!({"log_error": false, "log_warning": false});
        assert!(change(&settings, &failing).is_err());
        assert_eq!(settings.show().unwrap(), before);
    }

    #[test]
    fn a_log_of_somebody_else_cannot_be_changed() {
        let error = LogSettings::new(None).change(&Map::new()).unwrap_err();
        assert_eq!(error.code, ErrorCode::MethodNotAllowed);
    }
}
