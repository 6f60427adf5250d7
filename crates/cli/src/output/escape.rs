//! Text from elsewhere, made harmless for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with its control characters escaped. Names and messages may hold any character, and
/// must neither move the cursor of the terminal nor begin another line.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, is_hidden).into_owned()
}

/// The same for text of several lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        is_hidden(character) && !matches!(character, '\n' | '\t')
    })
}

/// JSON whose strings hold escapes in place of control characters, so that it means the same. The
/// JSON grammar allows the characters that are replaced within strings alone.
pub(crate) fn printable_json(text: &str) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|character| is_hidden(character) && character != '\n')
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Between tokens, where JSON allows them.
            '\t' | '\r' => shown.push(' '),
            '\n' => shown.push('\n'),
            hidden if is_hidden(hidden) => {
                // Writing to a String does not fail; all hidden characters have one UTF-16 unit.
                let _ = write!(shown, "\\u{:04x}", u32::from(hidden));
            }
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, must_escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&must_escape) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match must_escape(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Control characters, separators of lines, and marks that change the direction of the text after
/// them (Unicode Standard Annex 9).
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// A word of a command as a shell reads it.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_quoted_where_they_must_be() {
        assert_eq!(shell_word("https://a:1/b.c"), "https://a:1/b.c");
        assert_eq!(shell_word("http://a/?b&c"), "'http://a/?b&c'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn control_characters_are_escaped_and_letters_stay() {
        assert_eq!(
            printable("größe\r\n\u{1b}]0;x\u{7}\u{9b}1m"),
            "größe\\r\\n\\u{1b}]0;x\\u{7}\\u{9b}1m"
        );
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable_lines("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u{1b}");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!({"a\u{202e}": "x\u{9b}\u{7f}\u{1b}\r\n\t\u{2028}é"});
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = printable_json(&text);
            assert!(!shown.contains(['\u{202e}', '\u{9b}', '\u{7f}', '\u{1b}', '\u{2028}']));
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
                value
            );
        }
    }
}
