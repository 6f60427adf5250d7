//! Regular expressions of a tokenizer that give up, and say so.
//!
//! An expression that has to go back too often ends with an error. The library then goes on with what
//! was found so far, and the text gets other tokens without a word. Here its two parts that run
//! expressions of the file pass the error on.

use std::cell::RefCell;

use fancy_regex::Regex;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::pattern::Invert;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, Result, SplitDelimiterBehavior,
};

thread_local! {
    /// What the normalizer of this thread's text could not do: the library drops its errors.
    static PROBLEM: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the normalizer and what follows, and gives the error of either.
pub(crate) fn with_problem<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    PROBLEM.take();
    let made = run()?;
    match PROBLEM.take() {
        Some(problem) => Err(problem.into()),
        None => Ok(made),
    }
}

/// The pre-tokenizer of a file.
#[derive(Debug)]
pub(crate) enum FilePreTokenizer {
    Split {
        regex: Regex,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    Sequence(Vec<Self>),
    Other(PreTokenizerWrapper),
}

impl<'de> Deserialize<'de> for FilePreTokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::of(PreTokenizerWrapper::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl FilePreTokenizer {
    fn of(wrapper: PreTokenizerWrapper) -> std::result::Result<Self, fancy_regex::Error> {
        match &wrapper {
            PreTokenizerWrapper::Split(split) => match &split.pattern {
                SplitPattern::Regex(pattern) => Ok(Self::Split {
                    regex: Regex::new(pattern)?,
                    behavior: split.behavior,
                    invert: split.invert,
                }),
                SplitPattern::String(_) => Ok(Self::Other(wrapper)),
            },
            PreTokenizerWrapper::Sequence(sequence) => {
                let parts = sequence.as_ref().iter().cloned().map(Self::of);
                Ok(Self::Sequence(
                    parts.collect::<std::result::Result<_, _>>()?,
                ))
            }
            _ => Ok(Self::Other(wrapper)),
        }
    }
}

impl PreTokenizer for FilePreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        match self {
            Self::Split {
                regex,
                behavior,
                invert,
            } => text.split(|_, part| {
                if *invert {
                    part.split(Invert(regex), *behavior)
                } else {
                    part.split(regex, *behavior)
                }
            }),
            Self::Sequence(parts) => parts.iter().try_for_each(|part| part.pre_tokenize(text)),
            Self::Other(wrapper) => wrapper.pre_tokenize(text),
        }
    }
}

/// The normalizer of a file.
#[derive(Debug)]
pub(crate) enum FileNormalizer {
    Replace { regex: Regex, content: String },
    Sequence(Vec<Self>),
    Other(NormalizerWrapper),
}

impl<'de> Deserialize<'de> for FileNormalizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::of(NormalizerWrapper::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl FileNormalizer {
    fn of(wrapper: NormalizerWrapper) -> std::result::Result<Self, fancy_regex::Error> {
        match &wrapper {
            NormalizerWrapper::Replace(replace) => {
                // Its pattern is private, but not in its file.
                let file = serde_json::to_value(replace).unwrap_or_default();
                match &file["pattern"]["Regex"] {
                    Value::String(pattern) => Ok(Self::Replace {
                        regex: Regex::new(pattern)?,
                        content: replace.content.clone(),
                    }),
                    _ => Ok(Self::Other(wrapper)),
                }
            }
            NormalizerWrapper::Sequence(sequence) => {
                let parts = sequence.as_ref().iter().cloned().map(Self::of);
                Ok(Self::Sequence(
                    parts.collect::<std::result::Result<_, _>>()?,
                ))
            }
            _ => Ok(Self::Other(wrapper)),
        }
    }
}

impl Normalizer for FileNormalizer {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        match self {
            Self::Replace { regex, content } => text.replace(regex, content).inspect_err(|error| {
                PROBLEM.set(Some(error.to_string()));
            }),
            Self::Sequence(parts) => parts.iter().try_for_each(|part| part.normalize(text)),
            Self::Other(wrapper) => wrapper.normalize(text),
        }
    }
}
