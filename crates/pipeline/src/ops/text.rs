//! Steps that make text.

use crate::program::{Inputs, Op};
use crate::{Column, RowError, TextColumn};

/// Texts joined to one.
#[derive(Debug)]
pub(crate) struct Cross {
    pub(crate) separator: String,
}

impl Op for Cross {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut texts = TextColumn::with_capacity(inputs.rows());
        let mut joined = String::new();
        for row in 0..inputs.rows() {
            joined.clear();
            let is_whole = self.join(inputs, row, &mut joined);
            texts.push(is_whole.then_some(joined.as_str()));
        }
        Ok(Column::Text(texts))
    }
}

impl Cross {
    /// Whether no text is missing.
    fn join(&self, inputs: &Inputs<'_>, row: usize, joined: &mut String) -> bool {
        for input in 0..inputs.len() {
            let fill = inputs.source(input).fill.as_deref();
            let Some(text) = inputs.text(input).get(row).or(fill) else {
                return false;
            };
            if input > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(text);
        }
        true
    }
}
