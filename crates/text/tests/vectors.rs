//! Equality with the Python package `tokenizers`: the script beside the vectors made them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use serde_json::Value;
use tidegate_text::{Padding, TextInput, Tokenizer, TokenizerOptions, Truncation};

const KINDS: [&str; 4] = ["wordpiece", "byte_level", "unigram", "split_by_pattern"];

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/vectors.json")).unwrap()
}

fn tokenizer(vectors: &Value, kind: &str, options: TokenizerOptions) -> Tokenizer {
    let file = vectors["tokenizers"][kind]["file"].to_string();
    Tokenizer::parse(file.as_bytes(), options).unwrap()
}

fn numbers(list: &Value) -> Vec<i64> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_i64().unwrap()).collect()
}

/// Each text by itself, so that nothing is padded.
fn check_each(name: &str, special_tokens: bool) {
    let vectors = vectors();
    let texts = vectors["texts"].as_array().unwrap();
    for kind in KINDS {
        let options = TokenizerOptions {
            max_length: 1 << 16,
            special_tokens,
            // The file of one kind names none.
            pad_token: (kind == "byte_level").then(|| "<pad>".to_owned()),
            ..TokenizerOptions::default()
        };
        let tokenizer = tokenizer(&vectors, kind, options);
        let expected = vectors["tokenizers"][kind][name].as_array().unwrap();
        assert!(expected.len() >= 60);
        for (text, expected) in texts.iter().zip(expected) {
            let text = text.as_str().unwrap();
            let encoded = tokenizer.encode([TextInput::from(text)]).unwrap();
            let tokens: i64 = encoded.attention_mask.iter().sum();
            let found = &encoded.input_ids[..tokens as usize];
            assert_eq!(found, numbers(expected), "{kind}: {text:?}");
        }
    }
}

#[test]
fn tokens_are_those_of_the_python_package() {
    assert!(vectors()["texts"].as_array().unwrap().len() >= 200);
    check_each("ids", true);
}

#[test]
fn tokens_without_special_ones_are_those_of_the_python_package() {
    check_each("ids_without_special", false);
}

#[test]
fn padding_truncation_pairs_and_masks_are_those_of_the_python_package() {
    let vectors = vectors();
    for kind in KINDS {
        let batches = vectors["tokenizers"][kind]["batches"].as_array().unwrap();
        assert_eq!(batches.len(), 8);
        for batch in batches {
            check_batch(&vectors, kind, batch);
        }
    }
}

fn check_batch(vectors: &Value, kind: &str, batch: &Value) {
    let size = |name: &str| batch[name].as_u64().unwrap() as usize;
    let pairs = batch["pairs"].as_bool().unwrap();
    let options = TokenizerOptions {
        max_length: size("max_length"),
        truncation: match batch["truncation"].as_str().unwrap() {
            "only_first" => Truncation::OnlyFirst,
            "only_second" => Truncation::OnlySecond,
            _ => Truncation::LongestFirst,
        },
        padding: if batch["fixed"] == true {
            Padding::Fixed
        } else {
            Padding::Longest
        },
        pad_to_multiple_of: size("pad_to_multiple_of"),
        pairs,
        ..TokenizerOptions::default()
    };
    // Python rounds a length up that is no multiple; here the manifest must not say such a thing.
    let tokenizer = tokenizer(vectors, kind, options);
    let mut rows = Vec::new();
    for place in numbers(&batch["places"]) {
        let place = place as usize;
        rows.push(if pairs {
            let pair = &vectors["pairs"][place];
            TextInput::from((pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        } else {
            TextInput::from(vectors["texts"][place].as_str().unwrap())
        });
    }
    let encoded = tokenizer.encode(rows).unwrap();
    let results = [
        ("input_ids", &encoded.input_ids),
        ("attention_mask", &encoded.attention_mask),
        ("token_type_ids", &encoded.token_type_ids),
    ];
    for (name, found) in results {
        let expected: Vec<Vec<i64>> = batch[name]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        assert_eq!(expected.len(), encoded.rows);
        assert_eq!(
            found.as_slice(),
            expected.concat(),
            "{kind}: {name} of {batch}"
        );
    }
}
