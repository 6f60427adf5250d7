//! Addresses of IP, as the standard library reads them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Found;

pub(super) fn find(text: &str, found: &mut Found) {
    let mut at = 0;
    while let Some(offset) = text[at..].find(is_part) {
        let start = at + offset;
        let rest = &text[start..];
        let length = rest
            .find(|character| !is_part(character))
            .unwrap_or(rest.len());
        let end = start + length;
        let is_of_a_word = text[..start].ends_with(char::is_alphanumeric)
            || text[end..].starts_with(char::is_alphanumeric);
        if !is_of_a_word {
            found.extend(address(&text[start..end]).map(|length| start..start + length));
        }
        at = end;
    }
}

fn is_part(character: char) -> bool {
    character.is_ascii_hexdigit() || matches!(character, '.' | ':')
}

/// The length of the address at the start of a word, without a port or a full stop behind it.
fn address(word: &str) -> Option<usize> {
    let word = word.trim_end_matches('.');
    let host = word.split(':').next().unwrap_or(word);
    if host.parse::<Ipv4Addr>().is_ok() {
        return Some(host.len());
    }
    // `::` at the end belongs to the address, a single colon does not.
    let shorter = word.strip_suffix(':').unwrap_or(word);
    let candidates = [word, shorter];
    let whole = candidates
        .iter()
        .find(|word| word.parse::<Ipv6Addr>().is_ok());
    whole.map(|word| word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<&str> {
        let mut found = Found::new();
        find(text, &mut found);
        found.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn both_versions_are_found() {
        assert_eq!(addresses("from 10.0.0.7:8000."), ["10.0.0.7"]);
        assert_eq!(
            addresses("[2001:db8::1]:80 and ::1"),
            ["2001:db8::1", "::1"]
        );
        assert_eq!(addresses("::ffff:10.0.0.7"), ["::ffff:10.0.0.7"]);
    }

    #[test]
    fn versions_times_and_paths_are_none() {
        for text in ["1.2.3", "12:30:45", "std::io", "256.1.1.1", "0.25"] {
            assert!(addresses(text).is_empty(), "{text}");
        }
    }
}
