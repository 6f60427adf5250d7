//! Credentials: what may never be seen, however the redaction is configured.

use crate::detect::Found;

/// Schemes of `Authorization` whose credentials follow.
const SCHEMES: [&str; 3] = ["bearer ", "basic ", "token "];
/// Shorter words behind a scheme are words of a sentence.
const MIN_BYTES: usize = 8;
const MIN_WORD_BYTES: usize = 20;
/// What the server's own API keys begin with, and the first bytes of a JSON web token.
const PREFIXES: [&str; 2] = ["tdg_", "eyJ"];

pub(crate) fn find(text: &str, found: &mut Found) {
    let before = found.len();
    for (start, first) in text.char_indices() {
        if !matches!(first, 'B' | 'b' | 'T' | 't' | 'e') {
            continue;
        }
        // Within a token that was found: looking for its end again would take quadratic time.
        if found[before..].last().is_some_and(|last| start < last.end) {
            continue;
        }
        let rest = &text[start..];
        for scheme in SCHEMES {
            let is_scheme = rest
                .get(..scheme.len())
                .is_some_and(|word| word.eq_ignore_ascii_case(scheme));
            if is_scheme {
                let secret = rest[scheme.len()..].trim_start_matches(' ');
                let from = text.len() - secret.len();
                let length = token_bytes(secret);
                // A word of a sentence has no digits.
                let is_word = !secret[..length].bytes().any(|byte| byte.is_ascii_digit());
                let min = if is_word { MIN_WORD_BYTES } else { MIN_BYTES };
                push(found, from, length, min);
            }
        }
        for prefix in PREFIXES {
            if rest.starts_with(prefix) {
                push(found, start, token_bytes(rest), prefix.len() + MIN_BYTES);
            }
        }
    }
}

fn push(found: &mut Found, start: usize, length: usize, min: usize) {
    if length >= min {
        found.push(start..start + length);
    }
}

/// The length of the token at the start of a text (RFC 9110, `token68`, and the dots of a JWT).
fn token_bytes(text: &str) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    text.bytes().take_while(|byte| is_part(byte)).count()
}
