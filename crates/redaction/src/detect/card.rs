//! Numbers of payment cards (ISO/IEC 7812): 13 to 19 digits, the last of them Luhn's.

use super::{Found, before, is_digit};

const MIN_DIGITS: usize = 13;
const MAX_DIGITS: usize = 19;

pub(super) fn find(text: &[u8], found: &mut Found) {
    let mut at = 0;
    while at < text.len() {
        if !is_start(text, at) {
            at += 1;
            continue;
        }
        match end_of_card(text, at) {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
}

/// Whether a number may begin here. Cards begin with 2 to 6, which times in milliseconds do not.
fn is_start(text: &[u8], at: usize) -> bool {
    let is_first = matches!(text[at], b'2'..=b'6');
    // The decimals of a number are no card's.
    let is_fraction = before(text, at) == Some(b'.') && at >= 2 && text[at - 2].is_ascii_digit();
    is_first && !is_digit(before(text, at)) && !is_fraction
}

/// Where the longest card that begins at `start` ends. Its digits may be in groups.
fn end_of_card(text: &[u8], start: usize) -> Option<usize> {
    let mut digits = Vec::with_capacity(MAX_DIGITS);
    let mut end = None;
    let mut at = start;
    while digits.len() < MAX_DIGITS && at < text.len() {
        match text[at] {
            digit @ b'0'..=b'9' => {
                digits.push(digit - b'0');
                let is_whole = !is_digit(text.get(at + 1).copied());
                if is_whole && digits.len() >= MIN_DIGITS && has_luhn_digit(&digits) {
                    end = Some(at + 1);
                }
            }
            b' ' | b'-' if is_digit(text.get(at + 1).copied()) => {}
            _ => break,
        }
        at += 1;
    }
    end
}

/// Luhn's formula (ISO/IEC 7812-1, annex B).
fn has_luhn_digit(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, *digit) {
            (0, digit) => u32::from(digit),
            (_, digit @ 5..) => u32::from(digit) * 2 - 9,
            (_, digit) => u32::from(digit) * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(text: &str) -> Vec<&str> {
        let mut found = Found::new();
        find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn cards_of_every_network_are_found_however_they_are_written() {
        // Test numbers that payment providers publish.
        for card in [
            "4111111111111111",
            "4222222222222",
            "5555 5555 5555 4444",
            "2223-0031-2200-3222",
            "3782 822463 10005",
            "30569309025904",
            "6011111111111117",
            "6304000000000000",
            "3530111333300000",
        ] {
            assert_eq!(cards(card), [card]);
            assert_eq!(cards(&format!("x{card}.")), [card], "within a text");
            // A number behind it may make a longer one with a right check digit.
            let beside = format!("12 {card} 34");
            assert!(cards(&beside)[0].starts_with(card), "{beside}");
            assert_eq!(cards(&format!("{card}.0")), [card], "as a float");
        }
    }

    #[test]
    fn other_numbers_are_no_cards() {
        for text in [
            "4111111111111112",
            "1764215761123",
            "41111111111111111111",
            "0.4111111111111111",
            "4111  1111 1111 1111",
            "411111111111",
        ] {
            assert!(cards(text).is_empty(), "{text}");
        }
    }
}
