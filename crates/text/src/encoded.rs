//! Rows of tokens of one length.

use tokenizers::utils::padding::PaddingDirection;

/// Rows of tokens, one after the other, each of `length` tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The number of rows.
    pub rows: usize,
    /// The tokens of each row.
    pub length: usize,
    /// The number of each token in the vocabulary.
    pub input_ids: Vec<i64>,
    /// 1 for tokens, 0 for padding.
    pub attention_mask: Vec<i64>,
    /// 0 for tokens of the first text, 1 for those of the second one, as the file says.
    pub token_type_ids: Vec<i64>,
}

/// What rows are padded with.
#[derive(Clone, Debug)]
pub(crate) struct Pad {
    pub(crate) id: u32,
    pub(crate) type_id: u32,
    pub(crate) direction: PaddingDirection,
}

/// Rows of tokens, each of its own length.
#[derive(Debug, Default)]
pub(crate) struct Ragged {
    ids: Vec<u32>,
    types: Vec<u32>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Ragged {
    pub(crate) fn push(&mut self, ids: &[u32], types: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.types.extend_from_slice(types);
        self.ends.push(self.ids.len());
    }

    pub(crate) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The tokens of the longest row.
    pub(crate) fn longest(&self) -> usize {
        self.spans().map(|span| span.len()).max().unwrap_or(0)
    }

    fn spans(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| begin..*end)
    }

    /// All rows at one length, which none of them exceeds.
    pub(crate) fn padded(&self, length: usize, pad: &Pad) -> Encoded {
        let rows = self.rows();
        let mut encoded = Encoded {
            rows,
            length,
            input_ids: vec![i64::from(pad.id); rows * length],
            attention_mask: vec![0; rows * length],
            token_type_ids: vec![i64::from(pad.type_id); rows * length],
        };
        for (row, span) in self.spans().enumerate() {
            let begin = match pad.direction {
                PaddingDirection::Right => row * length,
                PaddingDirection::Left => (row + 1) * length - span.len(),
            };
            let place = begin..begin + span.len();
            widen(
                &self.ids[span.clone()],
                &mut encoded.input_ids[place.clone()],
            );
            widen(
                &self.types[span],
                &mut encoded.token_type_ids[place.clone()],
            );
            encoded.attention_mask[place].fill(1);
        }
        encoded
    }
}

fn widen(from: &[u32], to: &mut [i64]) {
    for (wide, narrow) in to.iter_mut().zip(from) {
        *wide = i64::from(*narrow);
    }
}
