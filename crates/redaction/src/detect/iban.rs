//! International bank account numbers (ISO 13616), with their check digits.

use super::{Found, before, is_alphanumeric};

/// The length in each country (SWIFT's IBAN registry).
const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 \
    DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 \
    HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 \
    MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 \
    SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

pub(super) fn find(text: &[u8], found: &mut Found) {
    let mut at = 0;
    while at + 4 < text.len() {
        match end_of_iban(text, at) {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
}

fn end_of_iban(text: &[u8], start: usize) -> Option<usize> {
    let head = text.get(start..start + 4)?;
    let is_head = head[..2].iter().all(u8::is_ascii_alphabetic)
        && head[2..].iter().all(u8::is_ascii_digit)
        && !is_alphanumeric(before(text, start));
    if !is_head {
        return None;
    }
    let length = length_in(&head[..2])?;
    let mut characters = Vec::with_capacity(length);
    let mut at = start;
    while characters.len() < length {
        match *text.get(at)? {
            byte if byte.is_ascii_alphanumeric() => characters.push(byte.to_ascii_uppercase()),
            b' ' | b'-' if is_alphanumeric(text.get(at + 1).copied()) => {}
            _ => return None,
        }
        at += 1;
    }
    let is_whole = !is_alphanumeric(text.get(at).copied());
    (is_whole && remainder(&characters) == 1).then_some(at)
}

fn length_in(country: &[u8]) -> Option<usize> {
    let country = country.to_ascii_uppercase();
    let mut entries = LENGTHS.split_ascii_whitespace();
    let entry = entries.find(|entry| entry.as_bytes()[..2] == country[..])?;
    entry[2..].parse().ok()
}

/// The remainder of the number by 97 (ISO/IEC 7064, MOD 97-10): the first four characters come
/// last, and letters are 10 to 35.
fn remainder(characters: &[u8]) -> u32 {
    let turned = characters[4..].iter().chain(&characters[..4]);
    turned.fold(0, |remainder, character| match character {
        b'0'..=b'9' => (remainder * 10 + u32::from(character - b'0')) % 97,
        letter => (remainder * 100 + u32::from(letter - b'A') + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ibans(text: &str) -> Vec<&str> {
        let mut found = Found::new();
        find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn examples_of_the_registry_are_found() {
        for iban in [
            "DE89370400440532013000",
            "GB29 NWBK 6016 1331 9268 19",
            "gb29nwbk60161331926819",
            "FR1420041010050500013M02606",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert_eq!(ibans(iban), [iban]);
            assert_eq!(ibans(&format!("to {iban} and more")), [iban]);
        }
    }

    #[test]
    fn a_wrong_check_digit_or_country_is_none() {
        for text in [
            "DE88370400440532013000",
            "XX89370400440532013000",
            "DE8937040044053201300",
        ] {
            assert!(ibans(text).is_empty(), "{text}");
        }
    }
}
