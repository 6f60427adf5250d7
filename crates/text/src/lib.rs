//! From texts to the numbers that a language model takes.
//!
//! In: a `tokenizer.json`, as the library `tokenizers` of Hugging Face writes it, and texts or pairs
//! of texts. Out: the identifiers of their tokens, padded to one length, with masks. The results are
//! those of the Python package `tokenizers`, which runs the same code.
//!
//! Texts are bounded, and so is the file. This crate does no I/O, starts no threads, and depends on
//! nothing else of the workspace: it takes long to build, and a change elsewhere does not build it
//! again.
//!
//! ```
//! use tidegate_text::{TextInput, Tokenizer, TokenizerOptions};
//!
//! let file = br#"{
//!     "version": "1.0",
//!     "added_tokens": [{"id": 0, "content": "[PAD]", "special": true, "single_word": false,
//!                       "lstrip": false, "rstrip": false, "normalized": false}],
//!     "pre_tokenizer": {"type": "Whitespace"},
//!     "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"[PAD]": 0, "?": 1, "hello": 2, "world": 3}}
//! }"#;
//! let options = TokenizerOptions { max_length: 4, ..TokenizerOptions::default() };
//! let tokenizer = Tokenizer::parse(file, options)?;
//! let texts = [TextInput::from("hello world"), TextInput::from("hello")];
//! let encoded = tokenizer.encode(texts)?;
//! assert_eq!((encoded.rows, encoded.length), (2, 2));
//! assert_eq!(encoded.input_ids, [2, 3, 2, 0]);
//! assert_eq!(encoded.attention_mask, [1, 1, 1, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod encoded;
mod error;
mod expressions;
mod options;
mod tokenizer;

pub use encoded::Encoded;
pub use error::{EncodeError, TextProblem, TokenizerError};
pub use options::{Padding, TokenizerOptions, Truncation};
pub use tokenizer::{MAX_FILE_BYTES, MAX_TEXT_BYTES, MAX_TOKENS, TextInput, Tokenizer};
