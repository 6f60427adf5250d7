//! Arrays of numbers, flat or nested, read in one pass over their bytes.
//!
//! Most of a body is numbers. This reader reads only arrays of plain numbers. It leaves everything
//! else to the general reader, which also reports what is wrong and where.

use lexical_parse_float::{FromLexicalWithOptions, Options, format};
use tidegate_core::{Element, Shape};

/// An element type that JSON writes as a number.
pub(super) trait Number: Element {
    /// Reads a number at the start of `text`, and returns its length too.
    fn read(text: &[u8]) -> Option<(Self, usize)>;

    /// A number below 100.
    fn small(value: u8) -> Self;
}

/// Reads an array with exactly `expected` numbers in it, whatever their nesting, from the start of
/// `text`, and returns the array's length in bytes too. `None` for everything else.
pub(super) fn read<T: Number>(text: &[u8], expected: usize) -> Option<(Vec<T>, usize)> {
    let mut rest = skip_space(text.strip_prefix(b"[")?);
    // What the text can hold bounds the vector, whatever the shape claims.
    let mut elements = Vec::with_capacity(expected.min(text.len() / 2));
    let (mut depth, mut is_opened) = (1, true);
    loop {
        // A value or an array begins here. An array may be empty.
        match rest {
            // What most of many bodies consists of: pixels, counts, flags.
            [one @ b'0'..=b'9', b',', behind @ ..] if elements.len() < expected => {
                elements.push(T::small(one - b'0'));
                is_opened = false;
                rest = skip_space(behind);
                continue;
            }
            [ten @ b'1'..=b'9', one @ b'0'..=b'9', b',', behind @ ..]
                if elements.len() < expected =>
            {
                elements.push(T::small((ten - b'0') * 10 + (one - b'0')));
                is_opened = false;
                rest = skip_space(behind);
                continue;
            }
            [b'[', inside @ ..] if depth < Shape::MAX_RANK => {
                depth += 1;
                is_opened = true;
                rest = skip_space(inside);
                continue;
            }
            [b']', ..] if is_opened => {}
            _ => {
                let (element, len) = T::read(rest)?;
                if elements.len() == expected {
                    return None;
                }
                elements.push(element);
                rest = skip_space(rest.get(len..)?);
            }
        }
        is_opened = false;
        // A comma follows, or the ends of arrays.
        loop {
            match rest {
                [b',', behind @ ..] => {
                    rest = skip_space(behind);
                    break;
                }
                [b']', behind @ ..] => {
                    depth -= 1;
                    if depth == 0 {
                        return (elements.len() == expected)
                            .then_some((elements, text.len() - behind.len()));
                    }
                    rest = skip_space(behind);
                }
                _ => return None,
            }
        }
    }
}

/// The text from its first byte that is not a space.
#[inline(always)]
fn skip_space(mut text: &[u8]) -> &[u8] {
    if text.first().is_none_or(|first| *first > b' ') {
        return text;
    }
    while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

/// Adds the next digits to `value`, and counts them. The value wraps around above 19 digits.
#[inline(always)]
fn digits(text: &[u8], mut value: u64) -> (u64, usize) {
    let mut count = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (value, count)
}

/// The digits before a fraction: at least one, without leading zeros.
#[inline(always)]
fn whole(text: &[u8]) -> Option<(u64, usize)> {
    let (value, count) = digits(text, 0);
    (count == 1 || (count > 1 && text[0] != b'0')).then_some((value, count))
}

impl Number for f64 {
    #[inline(always)]
    fn read(text: &[u8]) -> Option<(Self, usize)> {
        let sign = usize::from(*text.first()? == b'-');
        let Some((mut mantissa, whole)) = whole(&text[sign..]) else {
            return read_null(text);
        };
        let mut len = sign + whole;
        let mut fraction = 0;
        let mut next = text.get(len).copied().unwrap_or_default();
        if next == b'.' {
            (mantissa, fraction) = digits(&text[len + 1..], mantissa);
            if fraction == 0 {
                return None;
            }
            len += 1 + fraction;
            next = text.get(len).copied().unwrap_or_default();
        }
        // 18 digits fit into 64 bits, and a double holds every whole number up to 2^53.
        let is_exact = whole + fraction <= 18 && mantissa < 1 << 53;
        // An exponent or a second point is left to the general reader.
        if !is_exact || matches!(next, b'e' | b'E' | b'.') {
            return read_any(text);
        }
        // Both numbers are exact, so their quotient is the nearest to the decimal (Clinger, PLDI
        // 1990).
        let mantissa = mantissa.cast_signed() as Self;
        let value = if fraction == 0 {
            mantissa
        } else {
            mantissa / POWERS_OF_TEN[fraction]
        };
        Some((if sign == 1 { -value } else { value }, len))
    }

    #[inline(always)]
    fn small(value: u8) -> Self {
        Self::from(value)
    }
}

/// A number of any length, with or without an exponent.
#[cold]
fn read_any(text: &[u8]) -> Option<(f64, usize)> {
    const OPTIONS: Options = Options::new();
    let read = f64::from_lexical_partial_with_options::<{ format::JSON }>(text, &OPTIONS).ok();
    read.filter(|(value, _)| value.is_finite())
}

/// As [`read_any`], without a double between the digits and the float.
#[cold]
fn read_float(text: &[u8]) -> Option<(f32, usize)> {
    const OPTIONS: Options = Options::new();
    let read = f32::from_lexical_partial_with_options::<{ format::JSON }>(text, &OPTIONS).ok();
    read.filter(|(value, _)| value.is_finite())
}

/// A missing number.
#[cold]
fn read_null(text: &[u8]) -> Option<(f64, usize)> {
    text.starts_with(b"null").then_some((f64::NAN, 4))
}

/// Whether a double is halfway between two floats: rounded to it, a decimal no longer shows on which
/// side of the half it was. Among the smallest floats, which have fewer digits, every double counts.
#[inline(always)]
fn hides_the_nearest_float(wide: f64) -> bool {
    const DROPPED: u64 = (1 << (f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS)) - 1;
    const HALF: u64 = DROPPED.div_ceil(2);
    let is_small = wide.abs() < f32::MIN_POSITIVE as f64 && wide != 0.0;
    wide.to_bits() & DROPPED == HALF || is_small
}

/// Powers of ten, which a double holds exactly up to the 22nd.
const POWERS_OF_TEN: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

impl Number for f32 {
    #[inline(always)]
    fn read(text: &[u8]) -> Option<(Self, usize)> {
        let (wide, len) = f64::read(text)?;
        if hides_the_nearest_float(wide) {
            return read_float(text);
        }
        let narrow = wide as Self;
        (!narrow.is_infinite()).then_some((narrow, len))
    }

    #[inline(always)]
    fn small(value: u8) -> Self {
        Self::from(value)
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl Number for $integer {
            fn read(text: &[u8]) -> Option<(Self, usize)> {
                let sign = usize::from(*text.first()? == b'-');
                let (value, count) = whole(&text[sign..])?;
                // "-0" is not a number of an unsigned type, although its value would fit.
                if count > 19 || (sign == 1 && Self::MIN == 0) {
                    return None;
                }
                // 64 bits hold i64::MIN or u64::MAX, not both.
                let value = i128::from(value);
                let value = if sign == 1 { -value } else { value };
                Some((Self::try_from(value).ok()?, sign + count))
            }

            #[inline(always)]
            fn small(value: u8) -> Self {
                value as Self
            }
        })*
    };
}

integers!(u8, u16, u32, u64, i8, i16, i32, i64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arrays_are_read_whatever_their_nesting_and_spaces() {
        assert_eq!(
            read::<i32>(b"[1,-2, 3 ] tail", 3),
            Some((vec![1, -2, 3], 10))
        );
        assert_eq!(
            read::<u8>(b"[ [1 , 2],[3,4] ]", 4),
            Some((vec![1, 2, 3, 4], 17))
        );
        assert_eq!(read::<f32>(b"[]", 0), Some((vec![], 2)));
        assert_eq!(read::<f32>(b"[[],[ ]]", 0), Some((vec![], 8)));
        assert_eq!(
            read::<f64>(b"[0.1,-0,1e3,12345678901234567890]", 4),
            Some((vec![0.1, -0.0, 1e3, 1.2345678901234567e19], 33))
        );
    }

    #[test]
    fn what_is_no_json_or_does_not_fit_is_left_alone() {
        for wrong in [
            "", "1", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[[1]", "[01]", "[1.]", "[.5]",
            "[+1]", "[-]", "[1e]", "[1e400]", "[NaN]", "[\"1\"]", "[nul]", "[-null]", "[nulls]",
        ] {
            assert_eq!(read::<f32>(wrong.as_bytes(), 1), None, "{wrong}");
        }
        assert_eq!(read::<u8>(b"[256]", 1), None);
        assert_eq!(read::<u8>(b"[-1]", 1), None);
        assert_eq!(read::<u8>(b"[-0]", 1), None);
        assert_eq!(read::<i64>(b"[1.0]", 1), None);
        assert_eq!(read::<i64>(b"[1,2]", 1), None);
        assert_eq!(read::<i64>(b"[1]", 2), None);
    }

    proptest! {
        #[test]
        fn doubles_are_those_of_the_standard_library(value in any::<f64>(), digits in 0usize..20) {
            prop_assume!(value.is_finite());
            for text in [format!("{value}"), format!("{value:e}"), format!("{value:.digits$}")] {
                let (read, len) = f64::read(text.as_bytes()).unwrap();
                prop_assert_eq!(len, text.len());
                prop_assert_eq!(read.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
            }
        }

        #[test]
        fn digits_are_those_that_one_would_count(text in "[0-9]{0,19}([^0-9].{0,9})?") {
            let expected: String = text.chars().take_while(char::is_ascii_digit).collect();
            let value = expected.bytes().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
            prop_assert_eq!(digits(text.as_bytes(), 0), (value, expected.len()));
        }

        #[test]
        fn any_bytes_are_read_as_serde_json_reads_them_or_left_alone(text in "[\\[\\], 0-9.eE+-]{0,24}") {
            if let Some((numbers, len)) = read::<f64>(text.as_bytes(), 2) {
                let value: serde_json::Value = serde_json::from_str(&text[..len]).unwrap();
                prop_assert_eq!(numbers, flat(&value));
            }
        }
    }

    fn flat(value: &serde_json::Value) -> Vec<f64> {
        match value {
            serde_json::Value::Array(values) => values.iter().flat_map(flat).collect(),
            number => vec![number.as_f64().unwrap()],
        }
    }
}
