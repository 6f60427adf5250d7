//! `config.pbtxt` texts as people write them, and as nobody should.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tidegate_protocol::FILE_DESCRIPTOR_SET;
use tidegate_protocol::inference::ModelConfig;
use tidegate_protocol::model_config::{ConfigError, parse, to_json};

const COMMENTED: &str = r#"
# Scores one image. Kept by the vision team [owners: #vision].
name: "digits"
backend: 'onnxruntime'
max_batch_size: 0x20   # thirty-two
default_model_filename: "model" ".onnx"

input # one image a row
[
  {
    name: "image",
    data_type: TYPE_FP32;
    dims: # without the batch axis
      [ 64 ]
  },
  { name: "mask" data_type: TYPE_BOOL dims: 8 dims: -1 optional: true }
]
output [ { name: "label" data_type: TYPE_STRING dims: [ 1 ] label_filename: "labels.txt" } ]
output < name: "probabilities" data_type: TYPE_FP32 dims: [10] >
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 18446744073709551615
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 5000 max_queue_size: 64 }
}
instance_group [ { count: 2 kind: KIND_CPU } ]
version_policy: { latest { num_versions: 2 } }
parameters [
  { key: "rule" value: { string_value: "{\"if\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ # \\" } },
  { key: "team" value { string_value: 'it\'s ]' } }
]
model_transaction_policy { decoupled: False }
"#;

fn message(text: &str) -> String {
    parse(text).expect_err("the text is refused").to_string()
}

#[test]
fn comments_separators_and_both_list_forms_are_read() {
    let config = parse(COMMENTED).unwrap();
    assert_eq!(
        (
            config.max_batch_size,
            config.default_model_filename.as_str()
        ),
        (32, "model.onnx")
    );
    assert_eq!(config.input[0].dims, [64]);
    assert_eq!(config.input[1].dims, [8, -1]);
    assert!(config.input[1].optional);
    assert_eq!(config.output[0].label_filename, "labels.txt");
    assert_eq!(config.output[1].dims, [10]);
    assert_eq!(config.parameters["team"].string_value, "it's ]");
    assert!(config.parameters["rule"].string_value.ends_with("[ # \\"));
}

#[test]
fn windows_line_ends_change_nothing() {
    assert_eq!(parse(&COMMENTED.replace('\n', "\r\n")), parse(COMMENTED));
}

#[test]
fn positions_are_those_of_the_written_text() {
    for (text, position) in [
        ("input[{nme: 'x'}]", "line 1 column 8:"),
        (
            "input[] output[] input\n[ { nme: 'x' } ]",
            "line 2 column 5:",
        ),
        ("name: 'é' nme: 1", "line 1 column 11:"),
        ("name: 'a'\ninput [ { name: 'x } ]", "line 2 column 23:"),
        ("name:", "line 1 column 6:"),
        ("max_batch_size: 99999999999", "line 1 column 17:"),
        ("input { data_type: TYPE_FP8 }", "line 1 column 20:"),
    ] {
        assert!(
            message(text).starts_with(position),
            "{text:?}: {}",
            message(text)
        );
    }
}

#[test]
fn every_scheduler_and_hint_that_is_not_honoured_is_named() {
    for (text, field) in [
        (
            "model_operations { op_library_filename: 'a.so' }",
            "model_operations",
        ),
        (
            "input { allow_ragged_batch: true }",
            "input[0].allow_ragged_batch",
        ),
        (
            "output { is_shape_tensor: true }",
            "output[0].is_shape_tensor",
        ),
        (
            "instance_group [ { gpus: [ 0 ] } ]",
            "instance_group[0].gpus",
        ),
        (
            "model_transaction_policy { decoupled: true }",
            "model_transaction_policy.decoupled",
        ),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { max_queue_size: 3 } } }",
            "dynamic_batching.priority_queue_policy",
        ),
    ] {
        assert_eq!(message(text), format!("field \"{field}\" is not supported"));
    }
}

#[test]
fn nesting_that_comments_and_strings_hide_is_refused() {
    // The parser follows `[domain/Type] { … }` before it looks whether the type fits: a way to nest
    // without end, which overflows the stack unless the brackets of comments and strings are told
    // from those of the code.
    for level in ["{#}\n", "{#>]}\n", "{[a/b]:'}'", "{a:\"\\\"}\""] {
        let text = format!("[a/inference.BatchInput]{level}").repeat(20_000);
        assert!(
            matches!(parse(&text), Err(ConfigError::Bounds(_))),
            "{level:?}"
        );
    }
    for open in ["{", "[", "<", "input{", "input [ {"] {
        assert!(
            matches!(parse(&open.repeat(100_000)), Err(ConfigError::Bounds(_))),
            "{open:?}"
        );
    }
    assert!(matches!(
        parse(&" ".repeat((1 << 20) + 1)),
        Err(ConfigError::Bounds(_))
    ));
}

#[test]
fn json_keeps_every_bit_of_a_64_bit_number() {
    let json = to_json(&parse(COMMENTED).unwrap());
    assert_eq!(
        json["dynamic_batching"]["max_queue_delay_microseconds"],
        u64::MAX
    );
    assert_eq!(json["input"][1]["dims"][1], -1);
    assert_eq!(
        to_json(&parse("input { dims: 9007199254740993 }").unwrap())["input"][0]["dims"][0],
        9_007_199_254_740_993u64
    );
}

#[test]
fn json_has_defaults_but_neither_unset_messages_nor_the_other_choices() {
    let json = to_json(&ModelConfig::default());
    assert_eq!(
        (&json["max_batch_size"], &json["input"]),
        (&0.into(), &serde_json::json!([]))
    );
    assert_eq!(json["cc_model_filenames"], serde_json::json!({}));
    for absent in [
        "version_policy",
        "optimization",
        "dynamic_batching",
        "sequence_batching",
        "maxBatchSize",
    ] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
}

/// Recursion of the parser through the configuration's own fields is bounded by the schema.
#[test]
fn no_message_of_the_configuration_contains_itself() {
    fn visit(message: &MessageDescriptor, above: &mut Vec<String>) {
        assert!(
            !above.contains(&message.full_name().to_owned()),
            "{above:?} {}",
            message.full_name()
        );
        above.push(message.full_name().to_owned());
        for field in message.fields() {
            if let Some(inner) = field.kind().as_message() {
                visit(inner, above);
            }
        }
        above.pop();
    }
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    visit(
        &pool.get_message_by_name("inference.ModelConfig").unwrap(),
        &mut Vec::new(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_text_panics(text in any::<String>(), near in "[{}\\[\\]<>:;,#'\"/.\\\\a-z0-9_ \\n-]{0,200}") {
        let _ = (parse(&text), parse(&near));
    }

    #[test]
    fn no_mutation_of_a_good_text_panics(
        places in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20), 4),
        junk in prop::collection::vec("[{}\\[\\]<>:#'\"\\\\a0é\\n]{0,6}", 1..5),
    ) {
        let mut letters: Vec<char> = COMMENTED.chars().collect();
        for ((at, gone), junk) in places.into_iter().zip(junk) {
            let at = at.index(letters.len() + 1);
            let end = (at + gone).min(letters.len());
            letters.splice(at..end, junk.chars());
        }
        let _ = parse(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn a_comment_at_any_line_end_changes_nothing(line in 0usize..40, comment in "[^\\n]{0,20}") {
        let commented = COMMENTED.lines().enumerate().map(|(at, text)| {
            if at == line { format!("{text} #{comment}\n") } else { format!("{text}\n") }
        });
        prop_assert_eq!(parse(&commented.collect::<String>()), parse(COMMENTED));
    }
}
