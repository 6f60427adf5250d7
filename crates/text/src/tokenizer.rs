//! The tokenizer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{DecoderWrapper, PostProcessor, PostProcessorWrapper, TokenizerImpl};
use tokenizers::utils::padding::PaddingDirection;
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationError, TruncationParams, TruncationStrategy,
};

use crate::encoded::{Encoded, Pad, Ragged};
use crate::expressions::{FileNormalizer, FilePreTokenizer, with_problem};
use crate::options::{Padding, TokenizerOptions, Truncation};
use crate::{EncodeError, TextProblem, TokenizerError};

/// Larger files are refused, in bytes. The largest vocabularies in use take half of it.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Longer texts are refused, in bytes: while it is tokenized, a text takes up to 300 times its
/// length. It is several times what the largest language models take.
pub const MAX_TEXT_BYTES: usize = 256 << 10;
/// The most tokens of a row.
pub const MAX_TOKENS: usize = 1 << 16;

/// What files without a padding token of their own usually call it.
const PAD_TOKENS: [&str; 2] = ["[PAD]", "<pad>"];

/// A row: a text, or a pair of texts.
#[derive(Clone, Copy, Debug)]
pub struct TextInput<'a> {
    /// The text.
    pub text: &'a str,
    /// The second text of a pair.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for TextInput<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, pair: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for TextInput<'a> {
    fn from((text, pair): (&'a str, &'a str)) -> Self {
        Self {
            text,
            pair: Some(pair),
        }
    }
}

/// The library's tokenizer, with parts of our own where it drops errors.
type Inner = TokenizerImpl<
    ModelWrapper,
    FileNormalizer,
    FilePreTokenizer,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// A `tokenizer.json` and how it is used. See the crate's documentation.
pub struct Tokenizer {
    inner: Inner,
    options: TokenizerOptions,
    pad: Pad,
}

impl fmt::Debug for Tokenizer {
    // The vocabulary would be all that there is to see.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Tokenizer");
        debug
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding are those of the options, not of the file,
    /// except for the padding token and the sides of both.
    ///
    /// # Errors
    /// What is wrong with the file, or does not fit the options.
    pub fn parse(json: &[u8], options: TokenizerOptions) -> Result<Self, TokenizerError> {
        if json.len() > MAX_FILE_BYTES {
            let problem = format!("it has more than {MAX_FILE_BYTES} bytes");
            return Err(TokenizerError(problem));
        }
        without_panic(|| Self::new(json, options)).map_err(TokenizerError)
    }

    fn new(json: &[u8], options: TokenizerOptions) -> Result<Self, String> {
        let mut inner = Inner::from_bytes(json).map_err(|error| error.to_string())?;
        check_dropout(&inner)?;
        let pad = find_pad(&inner, options.pad_token.as_deref())?;
        check_lengths(&inner, &options)?;
        let direction = inner
            .get_truncation()
            .map_or_else(TruncationDirection::default, |params| params.direction);
        let truncation = truncation_params(&options, direction);
        inner
            .with_truncation(truncation)
            .map_err(|error| error.to_string())?;
        inner.with_padding(None);
        let tokenizer = Self {
            inner,
            options,
            pad,
        };
        tokenizer.try_out()?;
        Ok(tokenizer)
    }

    /// Finds files that can be read and then take no text at all.
    fn try_out(&self) -> Result<(), String> {
        let text = TextInput {
            text: "a",
            pair: self.options.pairs.then_some("b"),
        };
        let mut ragged = Ragged::default();
        match self.encode_row(text, &mut ragged) {
            Err(TextProblem::Failed(problem)) => Err(format!("it takes no text: {problem}")),
            // Very short rows may have no place for these.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The tokens of texts, all at one length.
    ///
    /// # Errors
    /// The first text that cannot be tokenized.
    pub fn encode<'a>(
        &self,
        texts: impl IntoIterator<Item = TextInput<'a>>,
    ) -> Result<Encoded, EncodeError> {
        let mut ragged = Ragged::default();
        for (row, text) in texts.into_iter().enumerate() {
            self.encode_row(text, &mut ragged)
                .map_err(|problem| EncodeError { row, problem })?;
        }
        let length = match self.options.padding {
            Padding::Fixed => self.options.max_length,
            Padding::Longest => ragged
                .longest()
                // Engines take no rows without an element.
                .max(1)
                .next_multiple_of(self.options.pad_to_multiple_of),
        };
        Ok(ragged.padded(length, &self.pad))
    }

    fn encode_row(&self, input: TextInput<'_>, ragged: &mut Ragged) -> Result<(), TextProblem> {
        let bytes = input.text.len() + input.pair.map_or(0, str::len);
        if bytes > MAX_TEXT_BYTES {
            let max = MAX_TEXT_BYTES;
            return Err(TextProblem::Bytes { bytes, max });
        }
        let max = self.options.max_length;
        let encoding = catch_unwind(AssertUnwindSafe(|| with_problem(|| self.run(input))))
            .unwrap_or_else(|panic| Err(message(&*panic).into()))
            .map_err(|error| problem(&*error, max))?;
        let tokens = encoding.get_ids().len();
        if tokens > max {
            return Err(TextProblem::Tokens { tokens, max });
        }
        ragged.push(encoding.get_ids(), encoding.get_type_ids());
        Ok(())
    }

    fn run(&self, input: TextInput<'_>) -> tokenizers::Result<tokenizers::Encoding> {
        let special_tokens = self.options.special_tokens;
        match input.pair {
            // `encode_fast` forgets which text a token is of.
            Some(pair) => self.inner.encode((input.text, pair), special_tokens),
            None => self.inner.encode_fast(input.text, special_tokens),
        }
    }

    /// The most tokens of a row.
    pub fn max_length(&self) -> usize {
        self.options.max_length
    }

    /// The length of all rows, if it is always the same.
    pub fn fixed_length(&self) -> Option<usize> {
        (self.options.padding == Padding::Fixed).then_some(self.options.max_length)
    }
}

/// Refuses a model that leaves out merges at random, as some do while they are trained: the same text
/// would get other tokens each time.
fn check_dropout(inner: &Inner) -> Result<(), String> {
    match inner.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some_and(|dropout| dropout > 0.0) => {
            Err("its model has a dropout above 0".to_owned())
        }
        _ => Ok(()),
    }
}

/// What rows are padded with: the token that was asked for, that of the file, or that of its
/// vocabulary.
fn find_pad(inner: &Inner, wanted: Option<&str>) -> Result<Pad, String> {
    let params = inner.get_padding();
    let id = match (wanted, params) {
        (Some(token), _) => inner
            .token_to_id(token)
            .ok_or_else(|| format!("its vocabulary has no token \"{token}\" to pad with"))?,
        (None, Some(params)) => params.pad_id,
        (None, None) => PAD_TOKENS
            .iter()
            .find_map(|token| inner.token_to_id(token))
            .ok_or("it does not say which token rows are padded with; set pad_token")?,
    };
    Ok(Pad {
        id,
        type_id: params.map_or(0, |params| params.pad_type_id),
        direction: params.map_or(PaddingDirection::Right, |params| params.direction),
    })
}

fn check_lengths(inner: &Inner, options: &TokenizerOptions) -> Result<(), String> {
    let (max_length, multiple) = (options.max_length, options.pad_to_multiple_of);
    if max_length == 0 || max_length > MAX_TOKENS {
        return Err(format!(
            "max_length is {max_length}, it is 1 to {MAX_TOKENS}"
        ));
    }
    if multiple == 0 || max_length % multiple != 0 {
        return Err(format!(
            "max_length {max_length} is no multiple of pad_to_multiple_of {multiple}"
        ));
    }
    if options.truncation == Truncation::OnlySecond && !options.pairs {
        return Err("it cuts the second text, and there is none".to_owned());
    }
    let processor = inner.get_post_processor();
    let added = processor.map_or(0, |processor| processor.added_tokens(options.pairs));
    if added >= max_length {
        return Err(format!(
            "max_length is {max_length}, and {added} special tokens are added to each row"
        ));
    }
    Ok(())
}

fn truncation_params(
    options: &TokenizerOptions,
    direction: TruncationDirection,
) -> Option<TruncationParams> {
    let strategy = match options.truncation {
        Truncation::LongestFirst => TruncationStrategy::LongestFirst,
        Truncation::OnlyFirst => TruncationStrategy::OnlyFirst,
        Truncation::OnlySecond => TruncationStrategy::OnlySecond,
        Truncation::Reject => return None,
    };
    Some(TruncationParams {
        direction,
        max_length: options.max_length,
        strategy,
        stride: 0,
    })
}

fn problem(error: &(dyn std::error::Error + 'static), max: usize) -> TextProblem {
    match error.downcast_ref::<TruncationError>() {
        Some(TruncationError::SequenceTooShort) => TextProblem::OtherTooLong { max },
        _ => TextProblem::Failed(error.to_string()),
    }
}

/// Turns a panic into an error: the crate panics on some files that no tokenizer would write. What
/// it worked on is not used after a panic.
fn without_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(message(&*panic)))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "the tokenizer panicked".to_owned())
}
