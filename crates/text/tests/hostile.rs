//! Files and texts that nobody sends in good faith.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_text::{
    MAX_TEXT_BYTES, Padding, TextInput, TextProblem, Tokenizer, TokenizerOptions, Truncation,
};

fn files() -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    let tokenizers = vectors["tokenizers"].as_object().unwrap().values();
    tokenizers
        .map(|tokenizer| tokenizer["file"].clone())
        .collect()
}

fn wordpiece(options: TokenizerOptions) -> Tokenizer {
    Tokenizer::parse(files()[0].to_string().as_bytes(), options).unwrap()
}

fn refused(json: &str, options: TokenizerOptions) -> String {
    Tokenizer::parse(json.as_bytes(), options)
        .unwrap_err()
        .to_string()
}

fn of_length(max_length: usize) -> TokenizerOptions {
    TokenizerOptions {
        max_length,
        ..TokenizerOptions::default()
    }
}

#[test]
fn a_file_that_is_no_tokenizer_is_refused() {
    for file in [
        "",
        "{}",
        "null",
        "[1]",
        "{\"version\": \"1.0\"}",
        "\u{feff}{}",
    ] {
        assert!(!refused(file, of_length(8)).is_empty(), "{file}");
    }
    let deep = format!("{{\"version\": \"1.0\", \"model\": {}", "[".repeat(100_000));
    assert!(refused(&deep, of_length(8)).contains("recursion limit"));
}

#[test]
fn options_that_do_not_fit_the_file_are_refused() {
    let file = files()[0].to_string();
    let message = refused(&file, of_length(2));
    assert_eq!(
        message,
        "max_length is 2, and 2 special tokens are added to each row"
    );
    assert!(refused(&file, of_length(0)).contains("1 to 65536"));
    let options = TokenizerOptions {
        pad_to_multiple_of: 8,
        ..of_length(20)
    };
    assert!(refused(&file, options).contains("no multiple of pad_to_multiple_of 8"));
    let options = TokenizerOptions {
        pad_token: Some("<pad>".to_owned()),
        ..of_length(20)
    };
    assert!(refused(&file, options).contains("no token \"<pad>\""));
    let options = TokenizerOptions {
        truncation: Truncation::OnlySecond,
        ..of_length(20)
    };
    assert!(refused(&file, options).contains("there is none"));
}

#[test]
fn a_file_without_a_padding_token_says_what_to_set() {
    let file = json!({
        "version": "1.0", "added_tokens": [],
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0}},
    });
    assert!(refused(&file.to_string(), of_length(8)).contains("set pad_token"));
}

#[test]
fn a_long_text_is_refused_before_it_is_tokenized() {
    let long = "a ".repeat(MAX_TEXT_BYTES / 2 + 1);
    let error = wordpiece(of_length(8))
        .encode([TextInput::from("a"), TextInput::from(long.as_str())])
        .unwrap_err();
    let problem = TextProblem::Bytes {
        bytes: long.len(),
        max: MAX_TEXT_BYTES,
    };
    assert_eq!((error.row, error.problem), (1, problem));
}

#[test]
fn without_truncation_a_row_of_too_many_tokens_is_an_error() {
    let options = TokenizerOptions {
        truncation: Truncation::Reject,
        ..of_length(4)
    };
    let tokenizer = wordpiece(options);
    assert!(tokenizer.encode([TextInput::from("a b")]).is_ok());
    let error = tokenizer.encode([TextInput::from("a b c")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 0: the text has 5 tokens, the model takes 4"
    );
}

#[test]
fn a_pair_whose_other_text_is_too_long_is_an_error() {
    let options = TokenizerOptions {
        truncation: Truncation::OnlyFirst,
        pairs: true,
        ..of_length(6)
    };
    let error = wordpiece(options)
        .encode([TextInput::from(("a", "a b c d e f"))])
        .unwrap_err();
    assert_eq!(error.problem, TextProblem::OtherTooLong { max: 6 });
}

#[test]
fn no_tokens_at_all_are_a_row_of_padding() {
    let options = TokenizerOptions {
        special_tokens: false,
        ..of_length(8)
    };
    let encoded = wordpiece(options).encode([TextInput::from("")]).unwrap();
    assert_eq!((encoded.rows, encoded.length), (1, 1));
    assert_eq!(
        (encoded.input_ids, encoded.attention_mask),
        (vec![0], vec![0])
    );
}

/// Checks that whatever a file that can be read makes of texts has the shape that it says.
fn check_shapes(tokenizer: &Tokenizer, texts: &[String]) {
    let rows = texts.iter().map(|text| TextInput::from(text.as_str()));
    let Ok(encoded) = tokenizer.encode(rows) else {
        return;
    };
    assert_eq!(encoded.rows, texts.len());
    assert!(encoded.length <= tokenizer.max_length());
    for tensor in [
        &encoded.input_ids,
        &encoded.attention_mask,
        &encoded.token_type_ids,
    ] {
        assert_eq!(tensor.len(), encoded.rows * encoded.length);
    }
}

/// Replaces the value at some place of a tree of JSON.
fn mutate(value: &mut Value, place: &mut usize, with: &Value) {
    if *place == 0 {
        *value = with.clone();
        *place = usize::MAX;
        return;
    }
    *place -= 1;
    match value {
        // The many entries of a vocabulary would take nearly all of the changes.
        Value::Array(values) => {
            for value in values.iter_mut().take(6) {
                mutate(value, place, with);
            }
        }
        Value::Object(entries) => {
            for (_, value) in entries.iter_mut().take(20) {
                mutate(value, place, with);
            }
        }
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(true)),
        Just(json!("")),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!([[0, 0]])),
        (0u32..70_000).prop_map(|number| json!(number)),
        ".{0,4}".prop_map(|text| json!(text)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_file_with_any_wrong_value_is_refused_or_works(
        kind in 0usize..4, place in 0usize..120, with in any_value(),
        texts in prop::collection::vec(".{0,40}", 1..4),
    ) {
        let mut file = files()[kind].clone();
        mutate(&mut file, &mut place.clone(), &with);
        if let Ok(tokenizer) = Tokenizer::parse(file.to_string().as_bytes(), of_length(16)) {
            check_shapes(&tokenizer, &texts);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_overwritten_is_refused_or_works(
        kind in 0usize..4, at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4),
        is_cut in any::<bool>(),
    ) {
        let mut file = files()[kind].to_string().into_bytes();
        let at = at.index(file.len());
        if is_cut {
            file.truncate(at);
        }
        for (place, byte) in bytes.iter().enumerate() {
            if let Some(old) = file.get_mut(at + place) {
                *old = *byte;
            }
        }
        if let Ok(tokenizer) = Tokenizer::parse(&file, of_length(16)) {
            check_shapes(&tokenizer, &["a b c".to_owned()]);
        }
    }

    #[test]
    fn a_row_has_the_tokens_that_it_has_alone(texts in prop::collection::vec(".{0,60}", 1..6), fixed in any::<bool>()) {
        let options = TokenizerOptions {
            padding: if fixed { Padding::Fixed } else { Padding::Longest },
            ..of_length(32)
        };
        let tokenizer = wordpiece(options);
        let encoded = tokenizer.encode(texts.iter().map(|text| TextInput::from(text.as_str()))).unwrap();
        for (row, text) in texts.iter().enumerate() {
            let alone = tokenizer.encode([TextInput::from(text.as_str())]).unwrap();
            let tokens = alone.attention_mask.iter().sum::<i64>() as usize;
            let begin = row * encoded.length;
            prop_assert_eq!(&encoded.input_ids[begin..begin + tokens], &alone.input_ids[..tokens]);
            let mask = &encoded.attention_mask[begin..begin + encoded.length];
            prop_assert_eq!(mask.iter().sum::<i64>() as usize, tokens);
        }
    }
}

/// A tokenizer whose expressions go back again and again on a text that they do not match.
fn endless(part: &str) -> Tokenizer {
    // The look-ahead inside keeps the repetition out of the engine that never goes back.
    let pattern = json!({"Regex": "((?=x)x+x+)+y"});
    let normalizer = match part {
        "normalizer" => json!({"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": pattern, "content": "?"}
        ]}),
        _ => Value::Null,
    };
    let pre_tokenizer = match part {
        "pre_tokenizer" => json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}
        ]}),
        _ => Value::Null,
    };
    let file = json!({
        "version": "1.0", "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "[PAD]": 1}},
    });
    Tokenizer::parse(file.to_string().as_bytes(), of_length(8)).unwrap()
}

#[test]
fn an_expression_that_gives_up_fails_the_text_and_not_its_tokens() {
    for part in ["pre_tokenizer", "normalizer"] {
        let tokenizer = endless(part);
        assert!(tokenizer.encode([TextInput::from("xxxy")]).is_ok());
        let text = "x".repeat(60);
        let error = tokenizer
            .encode([TextInput::from(text.as_str())])
            .unwrap_err();
        assert!(
            error.to_string().contains("backtracking"),
            "{part}: {error}"
        );
        // Nothing of it is left for the next text.
        assert!(tokenizer.encode([TextInput::from("xxxy")]).is_ok());
    }
}

#[test]
fn the_expression_of_byte_level_does_not_give_up_on_the_longest_text() {
    let file = json!({
        "version": "1.0", "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "WordLevel", "unk_token": "?",
            "vocab": {"?": 0, "[PAD]": 1, "\u{120}a": 2},
        },
    });
    let tokenizer = Tokenizer::parse(file.to_string().as_bytes(), of_length(8)).unwrap();
    // The last space belongs to the letter. With one word, the expression would have given up.
    let text = format!("{}a", " ".repeat(MAX_TEXT_BYTES - 1));
    let encoded = tokenizer.encode([TextInput::from(text.as_str())]).unwrap();
    assert_eq!(encoded.input_ids, [0, 2]);
}
