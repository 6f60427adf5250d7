//! Numbers that JSON has no digits for.
//!
//! One rule holds wherever text becomes numbers, or numbers text: `null`, or an empty cell of a
//! table, is NaN where the type is a float. `NaN`, `Infinity` and `-Infinity` are read as words and
//! as strings. NaN is written as `null`, and the infinities as strings.

use std::borrow::Cow;

/// The value of a word for a number without digits.
///
/// ```
/// use tidegate_core::parse_not_finite;
///
/// assert!(parse_not_finite("NaN").unwrap().is_nan());
/// assert_eq!(parse_not_finite("-Infinity"), Some(f64::NEG_INFINITY));
/// assert_eq!(parse_not_finite("1.5"), None);
/// ```
pub fn parse_not_finite(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// JSON text in which the bare words of [`parse_not_finite`], as Python's `json` writes them, are
/// strings, so that a strict parser reads it.
///
/// ```
/// use tidegate_core::quote_not_finite;
///
/// let text = quote_not_finite(br#"["NaN", NaN, -Infinity, 1]"#);
/// assert_eq!(&text[..], br#"["NaN", "NaN", "-Infinity", 1]"#);
/// ```
pub fn quote_not_finite(text: &[u8]) -> Cow<'_, [u8]> {
    let has_word = |word: &[u8]| text.windows(word.len()).any(|found| found == word);
    if !has_word(b"NaN") && !has_word(b"Infinity") {
        return Cow::Borrowed(text);
    }
    let mut quoted = Vec::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut is_string = false;
    while let [letter, behind @ ..] = rest {
        let word = WORDS
            .iter()
            .find(|word| !is_string && rest.starts_with(word));
        if let Some(word) = word {
            quoted.push(b'"');
            quoted.extend_from_slice(word);
            quoted.push(b'"');
            rest = &rest[word.len()..];
            continue;
        }
        quoted.push(*letter);
        rest = behind;
        if is_string && *letter == b'\\' {
            // Whatever is escaped, it does not end the string.
            quoted.extend(rest.first());
            rest = rest.get(1..).unwrap_or_default();
        } else if *letter == b'"' {
            is_string = !is_string;
        }
    }
    Cow::Owned(quoted)
}

/// `-Infinity` before the word that is a part of it.
const WORDS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
