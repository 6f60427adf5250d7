//! The steps that take texts to tokens, and vectors of tokens to vectors of texts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

steps! {
    /// Tokens of texts, or of pairs of texts, as tensors: `input_ids`, `attention_mask` and
    /// `token_type_ids`. The rows of a request are padded to one length.
    TokenizeStep {
        /// The column of texts.
        input: String,
        /// The column of second texts, for models that compare two.
        #[serde(default)]
        pair: Option<String>,
        /// The tokenizer, a file of the bundle.
        #[serde(default = "tokenizer_json")]
        file: String,
        /// The most tokens of a row, with special tokens.
        max_length: usize,
        /// What happens to longer rows.
        #[serde(default)]
        truncation: TokenTruncation,
        /// How long all rows become.
        #[serde(default)]
        padding: TokenPadding,
        /// The length of rows is a multiple of it. Requests whose rows are of one length are batched.
        #[serde(default = "one")]
        pad_to_multiple_of: usize,
        /// The token that rows are padded with; that of the file by default.
        #[serde(default)]
        pad_token: Option<String>,
        /// Whether tokens such as `[CLS]` are added, as the file says.
        #[serde(default = "yes")]
        special_tokens: bool,
        /// The type of the three tensors.
        #[serde(default)]
        datatype: TokenDatatype,
        /// Name of the numbers of the tokens.
        #[serde(default = "input_ids")]
        input_ids: String,
        /// Name of the tensor that is 1 for tokens and 0 for padding.
        #[serde(default = "attention_mask")]
        attention_mask: String,
        /// Name of the tensor that is 1 for tokens of the second text.
        #[serde(default = "token_type_ids")]
        token_type_ids: String,
    }

    /// One vector for each row, of the vectors of its tokens.
    PoolStep {
        /// The output of the model with a vector for each token.
        input: String,
        /// How.
        mode: PoolMode,
        /// The tensor that is 1 for tokens and 0 for padding.
        #[serde(default = "attention_mask")]
        mask: String,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }

    /// Vectors of length 1.
    NormalizeStep {
        /// The numbers of each vector, side by side.
        input: String,
        /// The result's name; the input's by default.
        #[serde(default)]
        output: Option<String>,
    }
}

/// What happens to a row of too many tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenTruncation {
    /// Tokens of the longer text are cut off until both are of one length, then of both.
    #[default]
    LongestFirst,
    /// Tokens of the first text are cut off.
    OnlyFirst,
    /// Tokens of the second text are cut off.
    OnlySecond,
    /// The request fails.
    Reject,
}

/// How long the rows of a request become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenPadding {
    /// As long as the longest of them.
    #[default]
    Longest,
    /// As long as `max_length`.
    Fixed,
}

/// The type of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum TokenDatatype {
    #[default]
    Int64,
    Int32,
}

/// How the vectors of tokens become one, as sentence-transformers does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolMode {
    /// Their mean, without padding.
    Mean,
    /// The first one.
    Cls,
    /// The largest number at each place, without padding.
    Max,
    /// Their sum, without padding, divided by the square root of their number.
    MeanSqrtLen,
    /// The last one that is no padding.
    LastToken,
}

fn tokenizer_json() -> String {
    "tokenizer.json".to_owned()
}

fn input_ids() -> String {
    "input_ids".to_owned()
}

fn attention_mask() -> String {
    "attention_mask".to_owned()
}

fn token_type_ids() -> String {
    "token_type_ids".to_owned()
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}
