//! Text that arrives in pieces: what is found must not be in the answer, wherever it was split.

use crate::Redactor;
use crate::detect::Found;

/// What is held back: anything up to this length is seen whole before any of it is given.
const HELD_BYTES: usize = 512;
/// What was given and is still looked at: what a name says about the value behind it.
const CONTEXT_BYTES: usize = 256;
/// If something that was found goes on for longer, the rest of it is left out unseen.
const MAX_HELD_BYTES: usize = 8 << 10;

/// Redacts a stream of text.
///
/// ```
/// use tidegate_redaction::{Redactor, StreamRedactor};
///
/// let mut stream = StreamRedactor::new(Redactor::default());
/// let mut told = stream.push(b"write to ada@exam");
/// told += &stream.push(b"ple.org now");
/// told += &stream.finish();
/// assert_eq!(told, "write to [redacted] now");
/// ```
#[derive(Debug)]
pub struct StreamRedactor {
    redactor: Redactor,
    /// The start of a character whose rest has not arrived.
    partial: Vec<u8>,
    /// What was given last, and what is held back.
    text: String,
    /// How many bytes of it were given.
    given: usize,
    /// Whether the rest of something that was found is left out, up to the next blank.
    is_leaving_out: bool,
}

impl StreamRedactor {
    /// A stream that has not begun.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            partial: Vec::new(),
            text: String::new(),
            given: 0,
            is_leaving_out: false,
        }
    }

    /// Takes a piece, split anywhere, and gives what may be shown so far. Bytes that are no UTF-8
    /// become U+FFFD.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.take(piece);
        if self.is_leaving_out {
            self.leave_out();
        }
        let found = self.redactor.found(&self.text);
        let cut = self.cut(&found);
        if cut == self.given && self.text.len() - self.given > MAX_HELD_BYTES {
            self.text.clear();
            self.given = 0;
            self.is_leaving_out = true;
            return self.redactor.replacement.clone();
        }
        let shown = self.shown(&found, cut);
        let context = cut.saturating_sub(CONTEXT_BYTES);
        let context = self.text.floor_char_boundary(context);
        self.text.drain(..context);
        self.given = cut - context;
        shown
    }

    /// Gives the rest, once nothing more comes.
    pub fn finish(mut self) -> String {
        let partial = std::mem::take(&mut self.partial);
        self.text.push_str(&String::from_utf8_lossy(&partial));
        if self.is_leaving_out {
            self.leave_out();
        }
        let found = self.redactor.found(&self.text);
        self.shown(&found, self.text.len())
    }

    fn take(&mut self, piece: &[u8]) {
        self.partial.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.partial);
        let mut rest = bytes.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text.push_str(text);
                    return;
                }
                Err(error) => {
                    let (whole, after) = rest.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(whole));
                    let Some(wrong) = error.error_len() else {
                        self.partial = after.to_vec();
                        return;
                    };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[wrong..];
                }
            }
        }
    }

    fn leave_out(&mut self) {
        match self.text.find(char::is_whitespace) {
            Some(blank) => {
                self.text.drain(..blank);
                self.is_leaving_out = false;
            }
            None => self.text.clear(),
        }
    }

    /// Up to where the text may be given: before what is held back, and within nothing that was
    /// found.
    fn cut(&self, found: &Found) -> usize {
        let end = self.text.len().saturating_sub(HELD_BYTES).max(self.given);
        let cut = self.text.floor_char_boundary(end);
        match found
            .iter()
            .find(|range| range.start < cut && cut < range.end)
        {
            // It may go on in the next piece.
            Some(range) if range.end == self.text.len() => range.start.max(self.given),
            Some(range) => range.end,
            None => cut,
        }
    }

    /// The text from what was given to `cut`, without what was found.
    fn shown(&self, found: &Found, cut: usize) -> String {
        let mut shown = String::new();
        let mut from = self.given;
        let new = found
            .iter()
            .filter(|range| range.end > self.given && range.start < cut);
        for range in new {
            shown.push_str(self.text.get(from..range.start).unwrap_or_default());
            shown.push_str(&self.redactor.replacement);
            from = range.end;
        }
        shown.push_str(self.text.get(from..cut).unwrap_or_default());
        shown
    }
}
