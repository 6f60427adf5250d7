//! Numbers that JSON has no digits for.
//!
//! One rule holds wherever text becomes numbers, or numbers text: `null`, or an empty cell of a
//! table, is NaN where the type is a float. `NaN`, `Infinity` and `-Infinity` are read as words and
//! as strings. NaN is written as `null`, and the infinities as strings.

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
