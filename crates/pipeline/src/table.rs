//! Columns of values, a row for each record.

use bytes::Bytes;
use tidegate_core::Tensor;

/// Rows as columns. Every column has as many values as there are rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Column>,
}

impl Table {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, in the order of the pipeline's fields.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Some of its rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|column| column.select(rows));
        Self {
            rows: rows.len(),
            columns: columns.collect(),
        }
    }

    /// What its values take, in bytes.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }
}

/// The values of a column, or of several that stand side by side.
#[derive(Clone, Debug)]
pub enum Column {
    /// Numbers, one column after the other. A missing one is NaN. Booleans are 0 and 1; times are
    /// microseconds since 1970.
    Numbers(Vec<f64>),
    /// Texts.
    Text(TextColumn),
    /// Byte strings; `None` is a missing one.
    Bytes(Vec<Option<Bytes>>),
    /// A tensor with an entry of axis 0 for each row.
    Tensor(Tensor),
}

impl Column {
    /// What its values take, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Numbers(numbers) => size_of_val(numbers.as_slice()),
            Self::Text(text) => text.bytes(),
            Self::Bytes(values) => values.iter().flatten().map(Bytes::len).sum(),
            Self::Tensor(tensor) => tensor.byte_len(),
        }
    }

    /// The number of values: of rows, in a column that stands alone.
    #[allow(clippy::len_without_is_empty)] // A request has at least one row.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Text(texts) => texts.len(),
            Self::Bytes(values) => values.len(),
            Self::Tensor(tensor) => tensor.rows(),
        }
    }

    /// Some rows of a column that stands alone.
    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(rows.iter().map(|row| numbers[*row]).collect()),
            Self::Text(texts) => {
                let mut selected = TextColumn::with_capacity(rows.len());
                rows.iter().for_each(|row| selected.push(texts.get(*row)));
                Self::Text(selected)
            }
            Self::Bytes(values) => {
                Self::Bytes(rows.iter().map(|row| values[*row].clone()).collect())
            }
            Self::Tensor(_) => unreachable!("no field is a tensor"),
        }
    }

    /// Whether the value of a row is missing, in a column that stands alone.
    pub(crate) fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Numbers(numbers) => numbers[row].is_nan(),
            Self::Text(texts) => texts.get(row).is_none(),
            Self::Bytes(values) => values[row].is_none(),
            Self::Tensor(_) => false,
        }
    }
}

/// Texts in one buffer, some of them missing.
///
/// ```
/// use tidegate_pipeline::TextColumn;
///
/// let mut column = TextColumn::default();
/// column.push(Some("DE"));
/// column.push(None);
/// assert_eq!((column.get(0), column.get(1)), (Some("DE"), None));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TextColumn {
    buffer: String,
    /// Where each text begins and ends.
    spans: Vec<(u32, u32)>,
}

/// The span of a missing text: no text begins behind its end.
const MISSING: (u32, u32) = (1, 0);

impl TextColumn {
    /// An empty column with room for some texts.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            buffer: String::with_capacity(rows * 8),
            spans: Vec::with_capacity(rows),
        }
    }

    /// Appends a text.
    ///
    /// # Panics
    /// If the texts together have 4 GiB or more: bodies are limited far below that.
    pub fn push(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            self.spans.push(MISSING);
            return;
        };
        let begin = self.buffer.len();
        self.buffer.push_str(text);
        let end = u32::try_from(self.buffer.len()).expect("texts are shorter than 4 GiB");
        // `begin` is not above `end`, which fits.
        self.spans.push((begin as u32, end));
    }

    /// The text of a row; `None` if it is missing.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get(&self, row: usize) -> Option<&str> {
        let (begin, end) = self.spans[row];
        self.buffer.get(begin as usize..end as usize)
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn bytes(&self) -> usize {
        self.buffer.len() + size_of_val(self.spans.as_slice())
    }
}
