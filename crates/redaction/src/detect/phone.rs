//! Phone numbers: with a country code (E.164), with a trunk prefix, or in the North American form.

use super::{Found, before, is_alphanumeric};

/// Most digits (E.164).
const MAX_DIGITS: usize = 15;

pub(super) fn find(text: &[u8], found: &mut Found) {
    let mut at = 0;
    while at < text.len() {
        match end_of_number(text, at) {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
}

fn end_of_number(text: &[u8], start: usize) -> Option<usize> {
    let is_begin = matches!(text[start], b'+' | b'(' | b'0'..=b'9');
    let is_within = is_alphanumeric(before(text, start)) || before(text, start) == Some(b'.');
    if !is_begin || is_within {
        return None;
    }
    let number = Number::read(text, start);
    let is_followed = is_alphanumeric(text.get(number.end).copied());
    (!is_followed && number.is_phone(text[start])).then_some(number.end)
}

/// Digits in groups.
struct Number {
    digits: Vec<u8>,
    groups: Vec<usize>,
    end: usize,
}

impl Number {
    fn read(text: &[u8], start: usize) -> Self {
        let mut number = Self {
            digits: Vec::new(),
            groups: vec![0],
            end: start,
        };
        let mut separators = 0;
        for (at, byte) in text.iter().enumerate().skip(start) {
            match byte {
                b'0'..=b'9' => {
                    if separators > 0 && !number.digits.is_empty() {
                        number.groups.push(0);
                    }
                    separators = 0;
                    number.digits.push(*byte);
                    if let Some(group) = number.groups.last_mut() {
                        *group += 1;
                    }
                    number.end = at + 1;
                }
                // Such as `) ` between two groups.
                b'+' if at == start => {}
                b' ' | b'-' | b'.' | b'/' | b'(' | b')' if separators < 2 => separators += 1,
                _ => break,
            }
            if number.digits.len() > MAX_DIGITS {
                break;
            }
        }
        number
    }

    fn is_phone(&self, first: u8) -> bool {
        let count = self.digits.len();
        if count > MAX_DIGITS {
            return false;
        }
        let is_north_american = matches!(self.groups.as_slice(), [3, 3, 4] | [1, 3, 3, 4]);
        match (first, self.digits.as_slice()) {
            (b'+', digits) => count >= 8 && digits[0] != b'0',
            (_, [b'0', b'0', next, ..]) => count >= 10 && *next != b'0',
            (_, [b'0', ..]) => (9..=12).contains(&count),
            _ => is_north_american,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phones(text: &str) -> Vec<&str> {
        let mut found = Found::new();
        find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn numbers_are_found_however_they_are_written() {
        for phone in [
            "+49 30 901820",
            "+14155552671",
            "+44 (0)20 7946 0958",
            "0049 30 901820",
            "030/901820",
            "(415) 555-2671",
            "415-555-2671",
            "1 415 555 2671",
        ] {
            assert_eq!(phones(phone), [phone]);
            assert_eq!(phones(&format!("call {phone}, or not")), [phone]);
        }
    }

    #[test]
    fn other_numbers_are_none() {
        for text in [
            "1764215761",
            "12,345,678",
            "3.141592653",
            "2026-03-01",
            "id415-555-2671",
        ] {
            assert!(phones(text).is_empty(), "{text}");
        }
    }
}
