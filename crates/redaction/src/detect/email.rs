//! E-mail addresses: RFC 5321 without quoted local parts and without the signs that separate an
//! address from what stands before it; and those of a URL, with `%40`.

use super::Found;

/// Longest local part and longest domain, in characters (RFC 5321, section 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

pub(super) fn find(text: &str, found: &mut Found) {
    let marks = text.match_indices('@').chain(text.match_indices("%40"));
    for (at, mark) in marks {
        let start = at - local_bytes(&text[..at]);
        // A quote before the address is not its own.
        let quotes = text[start..at]
            .bytes()
            .take_while(|byte| *byte == b'\'')
            .count();
        let start = start + quotes;
        let end = at + mark.len() + domain_bytes(&text[at + mark.len()..]);
        if start < at && end > at + mark.len() {
            found.push(start..end);
        }
    }
}

fn local_bytes(text: &str) -> usize {
    let local = text.chars().rev().take(MAX_LOCAL);
    local.take_while(is_local).map(char::len_utf8).sum()
}

fn is_local(character: &char) -> bool {
    character.is_alphanumeric() || ".%+-_'".contains(*character)
}

/// The length of the domain at the start of the text; 0 if there is none.
fn domain_bytes(text: &str) -> usize {
    let characters = text.chars().take(MAX_DOMAIN);
    let length: usize = characters.take_while(is_domain).map(char::len_utf8).sum();
    // A full stop at the end is the sentence's.
    let domain = text[..length].trim_end_matches(['.', '-']);
    let Some((name, last)) = domain.rsplit_once('.') else {
        return 0;
    };
    let is_top_level = last.chars().count() >= 2 && !last.bytes().all(|byte| byte.is_ascii_digit());
    match !name.is_empty() && is_top_level {
        true => domain.len(),
        false => 0,
    }
}

fn is_domain(character: &char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '-')
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
    fn addresses_are_found_within_text() {
        for address in [
            "ada@example.org",
            "ada.love+tag@mail.example.co.uk",
            "jürgen@bücher.example",
            "o'neil@example.com",
            "ada%40example.org",
        ] {
            assert_eq!(addresses(&format!("<{address}>.")), [address]);
            assert_eq!(addresses(&format!("(\"{address}\", 1)")), [address]);
        }
        assert_eq!(addresses("a@b.de,c@d.de"), ["a@b.de", "c@d.de"]);
    }

    #[test]
    fn what_only_has_an_at_sign_is_no_address() {
        for text in [
            "fraud@champion",
            "@example.org",
            "a@b",
            "user@10.0.0.1",
            "100%4096.5",
        ] {
            assert!(addresses(text).is_empty(), "{text}");
        }
    }
}
