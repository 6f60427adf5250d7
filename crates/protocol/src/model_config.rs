//! Triton's `config.pbtxt`: read, checked against what is supported, and written as JSON.

mod text;

use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
    Value,
};
use thiserror::Error;

use self::text::ConfigText;
use crate::FILE_DESCRIPTOR_SET;
use crate::inference::{DataType, ModelConfig};

/// Why a configuration cannot be read or honoured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The text is too large or too deeply nested.
    #[error("the configuration is {0}")]
    Bounds(&'static str),
    /// The text is not a configuration; the message has the position.
    #[error("{0}")]
    Syntax(String),
    /// A field is set that Tidegate does not honour.
    #[error("field \"{field}\" is not supported{hint}")]
    Unsupported {
        /// The field's path, such as `input[0].reshape`.
        field: String,
        /// The value found and what is supported instead, with a leading blank; empty where no
        /// value is.
        hint: String,
    },
}

/// Fields that may be set, by path without indices. A field that holds its default counts as not
/// set.
const SUPPORTED: &[&str] = &[
    "name",
    "platform",
    "backend",
    "default_model_filename",
    "max_batch_size",
    "input",
    "input.name",
    "input.data_type",
    "input.dims",
    "input.optional",
    "input.format",
    "input.reshape",
    "input.reshape.shape",
    "output",
    "output.name",
    "output.data_type",
    "output.dims",
    "output.label_filename",
    "output.reshape",
    "output.reshape.shape",
    "dynamic_batching",
    "dynamic_batching.preferred_batch_size",
    "dynamic_batching.max_queue_delay_microseconds",
    "dynamic_batching.preserve_ordering",
    "dynamic_batching.priority_levels",
    "dynamic_batching.default_priority_level",
    "dynamic_batching.default_queue_policy",
    "dynamic_batching.default_queue_policy.timeout_action",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds",
    "dynamic_batching.default_queue_policy.allow_timeout_override",
    "dynamic_batching.default_queue_policy.max_queue_size",
    "sequence_batching",
    "sequence_batching.max_sequence_idle_microseconds",
    "sequence_batching.control_input",
    "sequence_batching.control_input.name",
    "sequence_batching.control_input.control",
    "sequence_batching.control_input.control.kind",
    "sequence_batching.control_input.control.int32_false_true",
    "sequence_batching.control_input.control.fp32_false_true",
    "sequence_batching.control_input.control.bool_false_true",
    "sequence_batching.control_input.control.data_type",
    "sequence_batching.state",
    "sequence_batching.state.input_name",
    "sequence_batching.state.output_name",
    "sequence_batching.state.data_type",
    "sequence_batching.state.dims",
    "sequence_batching.state.initial_state",
    "sequence_batching.state.initial_state.name",
    "sequence_batching.state.initial_state.data_type",
    "sequence_batching.state.initial_state.dims",
    "sequence_batching.state.initial_state.zero_data",
    "sequence_batching.state.initial_state.data_file",
    "sequence_batching.state.use_same_buffer_for_input_output",
    "sequence_batching.state.use_growable_memory",
    "sequence_batching.direct",
    "sequence_batching.direct.max_queue_delay_microseconds",
    "sequence_batching.direct.minimum_slot_utilization",
    "sequence_batching.oldest",
    "sequence_batching.oldest.max_candidate_sequences",
    "sequence_batching.oldest.preferred_batch_size",
    "sequence_batching.oldest.max_queue_delay_microseconds",
    "sequence_batching.oldest.preserve_ordering",
    "ensemble_scheduling",
    "ensemble_scheduling.step",
    "ensemble_scheduling.step.model_name",
    "ensemble_scheduling.step.model_version",
    "ensemble_scheduling.step.input_map",
    "ensemble_scheduling.step.output_map",
    "instance_group",
    "instance_group.name",
    "instance_group.kind",
    "instance_group.count",
    "version_policy",
    "version_policy.latest",
    "version_policy.latest.num_versions",
    "version_policy.all",
    "version_policy.specific",
    "version_policy.specific.versions",
    "parameters",
    "parameters.string_value",
    "model_transaction_policy",
    "response_cache",
    "response_cache.enable",
];

/// Fields that make no answer different, whatever stands in them: how fast a model runs and what is
/// told of it. They are taken and have no effect; [`without_effect`] names them.
const IGNORED: &[&str] = &[
    "metric_tags",
    "model_metrics",
    "model_warmup",
    "optimization",
];

/// Fields of which only some values are honoured.
const VALUES: &[(&str, &[&str])] = &[
    ("platform", &["", "onnxruntime_onnx", "ensemble"]),
    ("backend", &["", "onnxruntime"]),
    ("instance_group.kind", &["KIND_AUTO", "KIND_CPU"]),
    (
        "dynamic_batching.default_queue_policy.timeout_action",
        &["REJECT"],
    ),
];

/// Reads a `config.pbtxt`.
///
/// # Errors
/// [`ConfigError`] with the position of a syntax error or unknown field, or the path of a field
/// that is not supported.
pub fn parse(text: &str) -> Result<ModelConfig, ConfigError> {
    let message = ConfigText::new(text)?.parse(descriptor())?;
    check_supported(&message, "", "")?;
    message
        // In a dynamic message first: it alone knows which fields the text has set.
        .transcode_to()
        .map_err(|error| ConfigError::Syntax(error.to_string()))
}

/// Reads a configuration in JSON, as the `config` parameter of a load has it.
///
/// # Errors
/// As [`parse`].
pub fn parse_json(text: &str) -> Result<ModelConfig, ConfigError> {
    if text.len() > text::MAX_BYTES {
        return Err(ConfigError::Bounds("larger than 1 MiB"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor(), &mut json)
        .and_then(|message| json.end().map(|()| message))
        .map_err(|error| ConfigError::Syntax(error.to_string()))?;
    check_supported(&message, "", "")?;
    message
        .transcode_to()
        .map_err(|error| ConfigError::Syntax(error.to_string()))
}

/// The fields that are set and change nothing.
pub fn without_effect(config: &ModelConfig) -> Vec<&'static str> {
    let set = [
        !config.metric_tags.is_empty(),
        config.model_metrics.is_some(),
        !config.model_warmup.is_empty(),
        config.optimization.is_some(),
    ];
    let fields = IGNORED.iter().zip(set);
    fields
        .filter_map(|(field, set)| set.then_some(*field))
        .collect()
}

/// The configuration in the JSON form of Triton's `/v2/models/{model}/config`: the field names of
/// the `.proto`, defaults included, 64-bit integers as numbers.
pub fn to_json(config: &ModelConfig) -> serde_json::Value {
    let mut message = DynamicMessage::new(descriptor());
    let options = SerializeOptions::new()
        // The JSON mapping of Protobuf writes them as strings; Triton answers with numbers.
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true)
        .skip_default_fields(false);
    message
        .transcode_from(config)
        .ok()
        .and_then(|()| {
            message
                .serialize_with_options(serde_json::value::Serializer, &options)
                .ok()
        })
        .unwrap_or_default()
}

/// The Open Inference Protocol's name of a `DataType` number; `None` for `TYPE_INVALID` and unknown
/// numbers.
pub fn datatype_name(number: i32) -> Option<&'static str> {
    let datatype = DataType::try_from(number)
        .ok()
        .filter(|datatype| *datatype != DataType::TypeInvalid)?;
    if datatype == DataType::TypeString {
        Some("BYTES")
    } else {
        datatype.as_str_name().strip_prefix("TYPE_")
    }
}

/// The `DataType` number of an Open Inference Protocol name; `TYPE_INVALID` for an unknown name.
pub fn datatype_number(name: &str) -> i32 {
    // Triton's enumeration says STRING where the protocol says BYTES; all other names agree.
    let datatype = match name {
        "BYTES" => Some(DataType::TypeString),
        "STRING" => None,
        _ => DataType::from_str_name(&format!("TYPE_{name}")),
    };
    datatype.unwrap_or(DataType::TypeInvalid).into()
}

// Decoded once: a repository may have hundreds of configurations.
fn descriptor() -> MessageDescriptor {
    static DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
        let pool =
            DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build made these descriptors");
        pool.get_message_by_name("inference.ModelConfig")
            .expect("the .proto has this message")
    });
    DESCRIPTOR.clone()
}

/// Walks the fields that are set to something other than their default; `path` has no indices,
/// `shown` has them.
fn check_supported(message: &DynamicMessage, path: &str, shown: &str) -> Result<(), ConfigError> {
    for (field, value) in message.fields() {
        let path = if path.is_empty() {
            field.name().to_owned()
        } else {
            format!("{path}.{}", field.name())
        };
        let shown = if shown.is_empty() {
            field.name().to_owned()
        } else {
            format!("{shown}.{}", field.name())
        };
        if IGNORED.contains(&path.as_str()) {
            continue;
        }
        if !SUPPORTED.contains(&path.as_str()) {
            return Err(ConfigError::Unsupported {
                field: shown,
                hint: String::new(),
            });
        }
        check_value(&path, &shown, &field, value)?;
        match value {
            Value::Message(inner) => check_supported(inner, &path, &shown)?,
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Message(inner) = item {
                        check_supported(inner, &path, &format!("{shown}[{at}]"))?;
                    }
                }
            }
            // Keys of a map are free text of the owner: only the fields of its values are checked.
            Value::Map(items) => {
                for item in items.values() {
                    if let Value::Message(inner) = item {
                        check_supported(inner, &path, &shown)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses numbers that name no value of their enumeration, and values that [`VALUES`] leaves out.
fn check_value(
    path: &str,
    shown: &str,
    field: &FieldDescriptor,
    value: &Value,
) -> Result<(), ConfigError> {
    let allowed = VALUES
        .iter()
        .find(|(other, _)| *other == path)
        .map(|(_, allowed)| *allowed);
    let (found, known) = match (value, field.kind()) {
        (Value::String(text), _) => (text.clone(), true),
        (Value::EnumNumber(number), Kind::Enum(kind)) => match kind.get_value(*number) {
            Some(value) => (value.name().to_owned(), true),
            None => (number.to_string(), false),
        },
        _ => return Ok(()),
    };
    if allowed.map_or(known, |allowed| allowed.contains(&found.as_str())) {
        return Ok(());
    }
    let mut hint = format!(" with the value \"{found}\"");
    if let Some(allowed) = allowed {
        let allowed: Vec<&str> = allowed
            .iter()
            .copied()
            .filter(|value| !value.is_empty())
            .collect();
        hint.push_str(&format!(": use {}", allowed.join(" or ")));
    }
    Err(ConfigError::Unsupported {
        field: shown.to_owned(),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::model_version_policy::PolicyChoice;

    const REAL: &str = r#"
        # A comment.
        name: "digits"
        platform: "onnxruntime_onnx"
        max_batch_size: 32
        input [
          { name: "image" data_type: TYPE_FP32 dims: [ 64 ] }
        ]
        output [
          { name: "label" data_type: TYPE_INT64 dims: [ 1 ] reshape: { shape: [ ] } }
        ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
        instance_group [ { count: 2 kind: KIND_CPU } ]
        version_policy: { specific: { versions: [ 1, 3 ] } }
        parameters { key: "team" value: { string_value: "risk" } }
    "#;

    fn real() -> String {
        REAL.replace(" reshape: { shape: [ ] }", "")
    }

    #[test]
    fn a_real_configuration_is_read() {
        let config = parse(&real()).unwrap();
        assert_eq!(config.max_batch_size, 32);
        assert_eq!(config.input[0].dims, [64]);
        assert_eq!(config.instance_group[0].count, 2);
        let Some(PolicyChoice::Specific(policy)) = config.version_policy.unwrap().policy_choice
        else {
            panic!("the policy is specific")
        };
        assert_eq!(policy.versions, [1, 3]);
        assert_eq!(config.parameters["team"].string_value, "risk");
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn unsupported_fields_are_named_with_their_path() {
        assert_eq!(
            message("ensemble_scheduling { step { model_namespace: \"a\" } }"),
            "field \"ensemble_scheduling.step[0].model_namespace\" is not supported"
        );
        assert_eq!(
            message("sequence_batching { iterative_sequence: true }"),
            "field \"sequence_batching.iterative_sequence\" is not supported"
        );
        assert_eq!(
            message("platform: \"tensorrt_plan\""),
            "field \"platform\" is not supported with the value \"tensorrt_plan\": use onnxruntime_onnx or ensemble"
        );
        assert_eq!(
            message("instance_group { kind: KIND_GPU }"),
            "field \"instance_group[0].kind\" is not supported with the value \"KIND_GPU\": use KIND_AUTO or KIND_CPU"
        );
        assert_eq!(
            message("input { data_type: 77 }"),
            "field \"input[0].data_type\" is not supported with the value \"77\""
        );
        assert!(parse("model_transaction_policy { decoupled: false }").is_ok());
        assert!(parse("model_transaction_policy { decoupled: true }").is_err());
    }

    #[test]
    fn settings_that_change_no_answer_are_named() {
        let text = r#"model_warmup [{ name: "w" batch_size: 1 inputs { key: "x" value: {
                data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }]
            optimization { graph { level: 1 } } response_cache { enable: true }
            input { name: "x" format: FORMAT_NCHW reshape { shape: [ ] } }"#;
        let config = parse(text).unwrap();
        assert_eq!(without_effect(&config), ["model_warmup", "optimization"]);
        assert!(without_effect(&parse(REAL).unwrap()).is_empty());
        assert!(config.response_cache.unwrap().enable);
    }

    #[test]
    fn the_json_of_a_configuration_is_read_again() {
        let config = parse(REAL).unwrap();
        assert_eq!(parse_json(&to_json(&config).to_string()).unwrap(), config);
        assert!(parse_json("{\"max_batch\": 1}").is_err());
        assert!(parse_json("{} {}").is_err());
        assert!(parse_json("{\"sequence_batching\": {\"iterative_sequence\": true}}").is_err());
    }

    #[test]
    fn syntax_errors_and_unknown_fields_have_a_position() {
        let message = parse("name: \"a\"\nmax_batch: 3").unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("max_batch"),
            "{message}"
        );
        assert!(parse("name: ").is_err());
    }

    #[test]
    fn json_has_the_names_of_the_proto_and_plain_numbers() {
        let json = to_json(&parse(&real()).unwrap());
        assert_eq!(json["max_batch_size"], 32);
        assert_eq!(json["input"][0]["dims"][0], 64);
        assert_eq!(json["input"][0]["data_type"], "TYPE_FP32");
        assert_eq!(
            json["dynamic_batching"]["max_queue_delay_microseconds"],
            100
        );
    }

    #[test]
    fn datatypes_convert_both_ways() {
        for name in ["BOOL", "UINT8", "FP16", "BF16", "FP32", "BYTES"] {
            assert_eq!(datatype_name(datatype_number(name)), Some(name));
        }
        assert_eq!(datatype_name(0), None);
        assert_eq!([datatype_number("FP8"), datatype_number("STRING")], [0, 0]);
    }
}
