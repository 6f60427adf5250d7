//! How texts become rows of one length.

/// What is done to texts before and after they are tokenized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// The most tokens of a row, with special tokens.
    pub max_length: usize,
    /// What happens to longer rows.
    pub truncation: Truncation,
    /// How long all rows become.
    pub padding: Padding,
    /// The length of rows is a multiple of it.
    pub pad_to_multiple_of: usize,
    /// The token that rows are padded with, if it is another one than that of the file.
    pub pad_token: Option<String>,
    /// Whether tokens such as `[CLS]` and `[SEP]` are added, as the file says.
    pub special_tokens: bool,
    /// Whether rows are pairs of texts.
    pub pairs: bool,
}

impl Default for TokenizerOptions {
    fn default() -> Self {
        Self {
            max_length: 512,
            truncation: Truncation::default(),
            padding: Padding::default(),
            pad_to_multiple_of: 1,
            pad_token: None,
            special_tokens: true,
            pairs: false,
        }
    }
}

/// What happens to a row that has more tokens than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// Tokens of the longer text of a pair are cut off, until both are of one length; then of both.
    #[default]
    LongestFirst,
    /// Tokens of the first text are cut off.
    OnlyFirst,
    /// Tokens of the second text are cut off.
    OnlySecond,
    /// It is an error.
    Reject,
}

/// How long all rows become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// As long as the longest of them.
    #[default]
    Longest,
    /// `max_length`.
    Fixed,
}
