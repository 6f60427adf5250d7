//! Personal data that is found by its form. Each detector adds the ranges that it finds.

mod card;
mod email;
mod iban;
mod ip;
mod phone;

use std::ops::Range;

use crate::Detector;

pub(crate) type Found = Vec<Range<usize>>;

impl Detector {
    /// Adds what it finds in a text.
    pub(crate) fn find(self, text: &str, found: &mut Found) {
        // Most texts have neither, and are read once for it.
        let needed: fn(u8) -> bool = match self {
            Self::Email => |byte| matches!(byte, b'@' | b'%'),
            Self::Ip => |byte| matches!(byte, b'.' | b':'),
            _ => |byte| byte.is_ascii_digit(),
        };
        if !text.bytes().any(needed) {
            return;
        }
        match self {
            Self::Email => email::find(text, found),
            Self::Phone => phone::find(text.as_bytes(), found),
            Self::Card => card::find(text.as_bytes(), found),
            Self::Iban => iban::find(text.as_bytes(), found),
            Self::Ip => ip::find(text, found),
        }
    }
}

/// The byte before a position.
fn before(text: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|at| text[at])
}

fn is_digit(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_digit())
}

fn is_alphanumeric(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric())
}
