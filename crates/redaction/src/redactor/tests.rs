use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CARD: &str = "4111 1111 1111 1111";
const EMAIL: &str = "ada.lovelace@example.org";
const IBAN: &str = "DE89 3704 0044 0532 0130 00";
const PHONE: &str = "+49 30 901820";
const ADDRESS: &str = "203.0.113.77";
const KEY: &str = "tdg_9f8e7d6c5b4a39281706fedcba";
const WORD: &str = "customer-778899";

fn redactor() -> Redactor {
    Redactor::new(&PrivacyConfig {
        fields: vec!["surname".to_owned()],
        paths: vec!["$.rows[*].note".to_owned()],
        patterns: vec!["customer-[0-9]+".to_owned()],
        detectors: vec![
            Detector::Email,
            Detector::Phone,
            Detector::Card,
            Detector::Iban,
            Detector::Ip,
        ],
        replacement: "***".to_owned(),
    })
    .unwrap()
}

#[test]
fn an_error_about_a_file_named_token_keeps_its_words() {
    let redactor = Redactor::default();
    let error = "problem=\"/run/secrets/token: No such file or directory (os error 2)\"";
    assert_eq!(redactor.text(error), error);
    for (text, redacted) in [
        (
            "/run/token: s3cr3t (os error 2)",
            "/run/token: *** (os error 2)",
        ),
        (
            "/run/token: No (os error) s3cr3t",
            "/run/token: *** (os error) s3cr3t",
        ),
        (
            "token: No such file (os error 2)",
            "token: *** such file (os error 2)",
        ),
        (
            "/run/token=abc def (os error 2)",
            "/run/token=*** def (os error 2)",
        ),
    ] {
        assert_eq!(redactor.text(text), redacted.replace("***", "[redacted]"));
    }
}

#[test]
fn credentials_are_found_in_every_form() {
    let redactor = Redactor::default();
    for text in [
        "Authorization: Bearer s3cr3t-value-1234",
        "authorization: Basic czNjcjN0LXZhbHVlLTEyMzQ=",
        "authorization: Digest username=\"s3cr3t\", s3cr3t-value",
        r#"{"authorization":"Bearer s3cr3t-value-1234"}"#,
        r#"error="{\"password\":\"s3cr3t\\\"value\"}""#,
        "password=s3cr3t-value, next",
        "x-api-key: s3cr3t",
        "Cookie: a=s3cr3t; b=s3cr3t",
        "the key tdg_s3cr3ts3cr3ts3cr3t is unknown",
        "postgres://h/d?password=s3cr3t&user=x",
        "eyJhbGciOiJIUzI1NiJ9.s3cr3t.s3cr3t",
    ] {
        let told = redactor.text(text);
        assert!(!told.contains("s3cr3t"), "{told}");
        assert!(!told.contains("czNj"), "{told}");
        assert_eq!(redactor.text(&told), told, "a second time");
    }
    for text in [
        "the bearer of this",
        "model=fraud:7",
        "tokens: 7 of 9",
        "basic model",
    ] {
        assert_eq!(redactor.text(text), text);
    }
}

#[test]
fn json_is_redacted_by_key_path_and_content() {
    let mut value = json!({
        "Surname": "Lovelace",
        "api_key": {"nested": "x"},
        "rows": [{"note": [1, 2], "id": 7}, {"note": "free text", "text": format!("to {EMAIL}!")}],
        "card": 4_111_111_111_111_111_u64,
        "at_ms": 1_764_215_761_123_u64,
        EMAIL: true,
        "inputs": [{"name": "surname", "datatype": "BYTES", "data": ["Lovelace"]},
                   {"name": "x", "datatype": "FP32", "data": [0.5]}],
        "password": null,
    });
    redactor().json(&mut value);
    let expected = json!({
        "Surname": "***",
        "api_key": "***",
        "rows": [{"note": "***", "id": 7}, {"note": "***", "text": "to ***!"}],
        "card": "***",
        "at_ms": 1_764_215_761_123_u64,
        "***": true,
        "inputs": [{"name": "surname", "datatype": "BYTES", "data": "***"},
                   {"name": "x", "datatype": "FP32", "data": [0.5]}],
        "password": null,
    });
    assert_eq!(value, expected);
}

#[test]
fn elements_of_named_tensors_are_redacted() {
    let redactor = redactor();
    assert_eq!(redactor.element("surname", b"x"), b"***".as_slice());
    assert_eq!(redactor.element("text", b"no"), b"no".as_slice());
    let text = format!("<{EMAIL}>");
    assert_eq!(
        redactor.element("text", text.as_bytes()),
        b"<***>".as_slice()
    );
    // No text as a whole: replaced as a whole, or left as it is.
    let mut bytes = EMAIL.as_bytes().to_vec();
    bytes.extend([b' ', 0xff]);
    assert_eq!(redactor.element("text", &bytes), b"***".as_slice());
    assert_eq!(redactor.element("text", &[0xff, 1]), [0xff, 1].as_slice());
    assert_eq!(redactor.named("Cookie", "a=1"), "***");
}

#[test]
fn wrong_rules_are_refused() {
    let with = |change: fn(&mut PrivacyConfig)| {
        let mut config = PrivacyConfig::default();
        change(&mut config);
        Redactor::new(&config).map(|_| ()).unwrap_err()
    };
    let pattern = with(|config| config.patterns = vec!["(".to_owned()]);
    assert!(matches!(pattern, PrivacyError::Pattern { .. }), "{pattern}");
    let large = with(|config| config.patterns = vec!["((a{1000}){1000}){1000}".to_owned()]);
    assert!(matches!(large, PrivacyError::Pattern { .. }), "{large}");
    assert!(matches!(
        with(|config| config.patterns = vec!["x*".to_owned()]),
        PrivacyError::Empty(_)
    ));
    assert!(matches!(
        with(|config| config.paths = vec!["x".to_owned()]),
        PrivacyError::Path(_)
    ));
    assert!(matches!(
        with(|config| config.fields = vec![String::new()]),
        PrivacyError::Length(_)
    ));
    let many = with(|config| config.fields = vec!["x".to_owned(); 65]);
    assert!(matches!(many, PrivacyError::TooMany("fields")), "{many}");
    let quoted = with(|config| config.replacement = "\"".to_owned());
    assert!(matches!(quoted, PrivacyError::OddReplacement), "{quoted}");
    let own = with(|config| config.replacement = "a@b.de".to_owned());
    assert!(matches!(own, PrivacyError::Replacement(_)), "{own}");
}

#[test]
fn each_kind_of_secret_is_found_in_a_long_text() {
    let filler = "wörter und mehr wörter, ".repeat(24);
    for secret in [
        CARD,
        EMAIL,
        IBAN,
        PHONE,
        ADDRESS,
        KEY,
        WORD,
        "password=hunter22",
    ] {
        let told = redactor()
            .text(&format!("{filler}{secret} {filler}"))
            .into_owned();
        let hidden = secret.strip_prefix("password=").unwrap_or(secret);
        assert!(!told.contains(hidden), "{told}");
        assert!(
            told.starts_with(&filler) && told.ends_with(&filler),
            "{told}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = redactor().element("x", &bytes);
        if let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) {
            redactor().json(&mut value);
        }
    }

    #[test]
    fn redacted_text_stays_as_it_is(text in ".{0,200}") {
        let redactor = redactor();
        let once = redactor.text(&text).into_owned();
        prop_assert_eq!(redactor.text(&once).into_owned(), once);
    }
}
