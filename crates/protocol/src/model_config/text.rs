//! The text of a `config.pbtxt`, bounded and brought into the form that the parser reads.

use miette::Diagnostic;
use prost_reflect::text_format::ParseError;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::ConfigError;

/// Far above any real model configuration, which has some kilobytes; it bounds the time of parsing.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Deeper than any message of the configuration. The parser recurses without a bound of its own,
/// into `[domain/Type] { … }` even where the type does not fit.
const MAX_DEPTH: usize = 32;

/// A text and the form of it that the parser reads.
///
/// The text format allows a list of messages without a colon, `input [ … ]`, and every
/// configuration is written so; the parser requires the colon.
pub(super) struct ConfigText<'a> {
    written: &'a str,
    with_colons: String,
    /// Where in `with_colons` the added colons stand, ascending.
    added: Vec<usize>,
}

impl<'a> ConfigText<'a> {
    pub(super) fn new(written: &'a str) -> Result<Self, ConfigError> {
        if written.len() > MAX_BYTES {
            return Err(ConfigError::Bounds("larger than 1 MiB"));
        }
        let mut with_colons = String::with_capacity(written.len());
        let mut added = Vec::new();
        let mut place = Place::Code;
        let mut depth = 0usize;
        let mut after_name = false;
        // One pass before the parser: it must not see a text that is nested too deeply.
        for letter in written.chars() {
            if place == Place::Code {
                match letter {
                    '{' | '[' | '<' => depth += 1,
                    '}' | ']' | '>' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth > MAX_DEPTH {
                    return Err(ConfigError::Bounds("nested too deeply"));
                }
                if letter == '[' && after_name {
                    added.push(with_colons.len());
                    with_colons.push(':');
                }
                // Blanks and comments may stand between a name and its list.
                if !letter.is_ascii_whitespace() && letter != '#' {
                    after_name = letter.is_ascii_alphanumeric() || letter == '_';
                }
            }
            with_colons.push(letter);
            place = place.after(letter);
        }
        Ok(Self {
            written,
            with_colons,
            added,
        })
    }

    pub(super) fn parse(
        &self,
        descriptor: MessageDescriptor,
    ) -> Result<DynamicMessage, ConfigError> {
        DynamicMessage::parse_text_format(descriptor, &self.with_colons)
            .map_err(|error| ConfigError::Syntax(self.with_position(&error)))
    }

    /// The parser's message behind the line and column, counted in characters from 1, of the
    /// written text. An error without a place of its own is about the text's end.
    fn with_position(&self, error: &ParseError) -> String {
        // The parser counts in the text with the added colons: those before the place are taken off.
        let label = error.labels().and_then(|mut labels| labels.next());
        let offset = label.map_or(self.written.len(), |label| {
            label.offset() - self.added.partition_point(|colon| *colon < label.offset())
        });
        let before = &self.written.as_bytes()[..offset.min(self.written.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let on_line = before.iter().rev().take_while(|byte| **byte != b'\n');
        let column = on_line.filter(|byte| starts_letter(**byte)).count() + 1;
        format!("line {line} column {column}: {error}")
    }
}

/// Whether a byte of UTF-8 is the first of its letter: the others are 10xxxxxx (RFC 3629, section 3).
fn starts_letter(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

/// The kind of text that a character belongs to: brackets in comments and strings do not count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Code,
    Comment,
    Quoted(char),
    Escaped(char),
}

impl Place {
    /// The place of the letter after `letter`.
    fn after(self, letter: char) -> Self {
        match (self, letter) {
            (Self::Code, '"' | '\'') => Self::Quoted(letter),
            (Self::Code, '#') => Self::Comment,
            (Self::Comment, '\n') => Self::Code,
            (Self::Quoted(quote), '\\') => Self::Escaped(quote),
            (Self::Quoted(quote), _) if quote == letter => Self::Code,
            (Self::Escaped(quote), _) => Self::Quoted(quote),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_colons(text: &str) -> String {
        ConfigText::new(text).unwrap().with_colons
    }

    #[test]
    fn lists_get_the_colon_that_they_lack() {
        assert_eq!(
            with_colons("a[1] b [2] c\r\n\t[3]"),
            "a:[1] b :[2] c\r\n\t:[3]"
        );
        assert_eq!(with_colons("a # b\n[1]"), "a # b\n:[1]");
    }

    #[test]
    fn everything_else_stays_as_it_was_written() {
        for text in [
            "a: [1]",
            "a: # b\n  [1]",
            "# a [",
            "'a [' \"b [\"",
            r#""a \" b ["#,
            "[a.b/C]",
            "{ [x] }",
            "é ['ß[']",
        ] {
            assert_eq!(with_colons(text), text);
        }
    }

    fn fits(text: &str) -> bool {
        ConfigText::new(text).is_ok()
    }

    #[test]
    fn only_brackets_of_the_code_count_as_nesting() {
        assert!(fits(&"{".repeat(MAX_DEPTH)) && !fits(&"{".repeat(MAX_DEPTH + 1)));
        assert!(fits(&format!(
            "'{0}' #{0}\n \"\\\"{0}\"",
            "{[<".repeat(100)
        )));
        for hidden in ["{#}\n", "{'}'", "{\"\\\"}\""] {
            assert!(!fits(&hidden.repeat(MAX_DEPTH + 1)), "{hidden:?}");
        }
    }
}
