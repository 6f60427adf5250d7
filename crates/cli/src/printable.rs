//! Text from elsewhere on a terminal.

/// The text with its control characters escaped: it can neither move the cursor nor begin another
/// line.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if is_hidden(character) => shown.extend(character.escape_debug()),
            character => shown.push(character),
        }
    }
    shown
}

/// Control characters, and those that turn the direction of what follows.
fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_letters_stay() {
        assert_eq!(
            printable("größe\n\u{1b}]0;x\u{7}"),
            "größe\\n\\u{1b}]0;x\\u{7}"
        );
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
