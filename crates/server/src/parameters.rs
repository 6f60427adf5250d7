//! The named settings of a request, as every front end carries them.

use std::time::{Duration, Instant};

use tidegate_serving::{ErrorCode, InferError};

use crate::named_fields::PIPELINE;

/// More parameters than any client sends.
const MAX_PARAMETERS: usize = 64;

/// The parameters of requests, inputs and outputs that this server uses.
const KNOWN: [&str; 13] = [
    "binary_data",
    "binary_data_output",
    "binary_data_size",
    "classification",
    PIPELINE,
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "shared_memory_region",
    "timeout",
];

/// Named bools, numbers and strings; unknown names are allowed and ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    known: Vec<(String, Value)>,
    /// Of any name.
    count: usize,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Large(u64),
    Float(f64),
    Text(String),
}

impl Parameters {
    /// Whether this server uses a parameter of this name. Others may have any value.
    pub(crate) fn is_known(name: &str) -> bool {
        KNOWN.contains(&name)
    }

    /// Adds a parameter; one without a value, or with an unknown name, is only counted.
    pub(crate) fn insert(&mut self, name: &str, value: Option<Value>) -> Result<(), InferError> {
        self.count += 1;
        if self.count > MAX_PARAMETERS {
            let message = format!("there are more than {MAX_PARAMETERS} parameters");
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
        if let Some(value) = value.filter(|_| Self::is_known(name)) {
            self.known.push((name.to_owned(), value));
        }
        Ok(())
    }

    /// Whether there is none that this server uses.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The value, if there is one of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        // Most requests have none.
        if self.known.is_empty() {
            return None;
        }
        debug_assert!(Self::is_known(name));
        self.known
            .iter()
            // Of several of one name the last counts, as in most readers of JSON (RFC 8259, section
            // 4).
            .rev()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    /// A bool, if there is one of this name.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, InferError> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// A text, if there is one of this name.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, InferError> {
        match self.find(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a text", other)),
        }
    }

    /// A whole number that is not negative, if there is one of this name; gRPC clients send some of
    /// them as text.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, InferError> {
        let value = match self.find(name) {
            None => return Ok(None),
            Some(value) => value,
        };
        let number = match value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Large(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        number
            .map(Some)
            .ok_or_else(|| wrong(name, "a whole number from 0", value))
    }

    /// As [`Parameters::number`], for sizes and counts.
    pub(crate) fn size(&self, name: &str) -> Result<Option<usize>, InferError> {
        Ok(self
            .number(name)?
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    /// The deadline by the protocol's `timeout` parameter, in microseconds from when the request
    /// was received; 0 is none.
    pub(crate) fn deadline(&self, received: Instant) -> Result<Option<Instant>, InferError> {
        let timeout_us = self.number("timeout")?.filter(|timeout| *timeout > 0);
        // A time beyond what the clock can hold is as good as none.
        Ok(timeout_us.and_then(|timeout| received.checked_add(Duration::from_micros(timeout))))
    }

    /// The `priority` parameter; 0 is the model's default.
    pub(crate) fn priority(&self) -> Result<u64, InferError> {
        Ok(self.number("priority")?.unwrap_or(0))
    }
}

pub(crate) fn wrong(name: &str, wanted: &str, found: &Value) -> InferError {
    let found = match found {
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Large(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        // Cut: the client chose it, and the message is logged.
        Value::Text(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
    };
    InferError::new(
        ErrorCode::InvalidParameter,
        format!("parameter \"{name}\" must be {wanted}, it is {found}"),
    )
}
