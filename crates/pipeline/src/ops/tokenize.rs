//! Texts to tokens.

use tidegate_core::{DataType, Shape, Tensor};
use tidegate_text::{EncodeError, MAX_TEXT_BYTES, TextInput, TextProblem, Tokenizer};

use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// Tokens of texts, or of pairs of them: the rows of all [parts](TokenPart), one part after the
/// other.
#[derive(Debug)]
pub(crate) struct Tokenize {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) datatype: DataType,
}

impl Op for Tokenize {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut rows = Vec::with_capacity(inputs.rows());
        for row in 0..inputs.rows() {
            rows.push(TextInput {
                text: text(inputs, 0, row)?,
                pair: if inputs.len() > 1 {
                    Some(text(inputs, 1, row)?)
                } else {
                    None
                },
            });
        }
        let encoded = self.tokenizer.encode(rows.iter().copied());
        let encoded = encoded.map_err(|error| refuse(inputs, &rows, error))?;
        let shape = [TokenPart::ALL.len() * encoded.rows, encoded.length];
        let shape = Shape::new(&shape).expect("tokens of this number fit in memory");
        // In the order of the parts.
        let mut tokens = encoded.input_ids;
        tokens.extend_from_slice(&encoded.attention_mask);
        tokens.extend_from_slice(&encoded.token_type_ids);
        let tensor = if self.datatype == DataType::Int32 {
            let narrow = tokens.into_iter().map(|token| token as i32);
            Tensor::from_vec(shape, narrow.collect())
        } else {
            Tensor::from_vec(shape, tokens)
        };
        Ok(Column::Tensor(
            tensor.expect("there is a token at each place"),
        ))
    }

    fn bytes(&self, inputs: &Inputs<'_>) -> usize {
        // One row after the other: the longest takes the most.
        let longest = (0..inputs.rows()).map(|row| row_bytes(inputs, row)).max();
        tokenizing_bytes(longest.unwrap_or(0))
    }
}

/// What tokenizing a text of so many bytes takes, besides its tokens. Longer ones than there may be are
/// refused before.
pub(crate) fn tokenizing_bytes(text: usize) -> usize {
    text.min(MAX_TEXT_BYTES).saturating_mul(WORKING_FACTOR)
}

/// How many times its length a text takes at most while it is tokenized.
const WORKING_FACTOR: usize = 300;

/// The bytes of the texts of a row.
fn row_bytes(inputs: &Inputs<'_>, row: usize) -> usize {
    let texts = (0..inputs.len()).filter_map(|input| inputs.text(input).get(row));
    texts.map(str::len).sum()
}

fn text<'a>(inputs: &Inputs<'a>, input: usize, row: usize) -> Result<&'a str, RowError> {
    let fill = inputs.source(input).fill.as_deref();
    let text = inputs.text(input).get(row).or(fill);
    text.ok_or_else(|| inputs.error(input, row, Reason::Required, "is missing"))
}

#[cold]
fn refuse(inputs: &Inputs<'_>, rows: &[TextInput<'_>], error: EncodeError) -> RowError {
    let reason = match error.problem {
        TextProblem::Failed(_) => Reason::Type,
        _ => Reason::Length,
    };
    // The longer text of a pair is the one to look at.
    let row = &rows[error.row];
    let input = usize::from(row.pair.is_some_and(|pair| pair.len() > row.text.len()));
    inputs.error(input, error.row, reason, error.problem.to_string())
}

/// One of the tensors that a tokenizer makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenPart {
    /// The number of each token.
    Ids,
    /// 1 for tokens, 0 for padding.
    Mask,
    /// 1 for tokens of the second text.
    Types,
}

impl TokenPart {
    /// All of them, in the order in which [`Tokenize`] makes them.
    pub(crate) const ALL: [Self; 3] = [Self::Ids, Self::Mask, Self::Types];
}

impl Op for TokenPart {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let rows = inputs.rows();
        let part = inputs.tensor(0).slice_rows(*self as usize * rows, rows);
        Ok(Column::Tensor(part))
    }
}
