//! Fitted transformers, as the exporter writes them.

use serde::Deserialize;
use tidegate_core::{Category, NumberFunction};

/// A transformer: a tree of operations on columns.
///
/// Every operation takes all columns that the one before it made, and has one entry for each of them
/// in its lists.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Node {
    /// One after the other.
    Chain { steps: Vec<Node> },
    /// Side by side, each on its own columns.
    Union { parts: Vec<UnionPart> },
    /// Some of the columns, in this order; all of them without a list.
    Select { columns: Option<Vec<usize>> },
    /// Values in place of missing ones.
    Impute(ImputeNode),
    /// `(x - subtract) / divide * multiply + add`, clipped.
    Affine(AffineNode),
    /// A power transform.
    Power {
        method: PowerMethod,
        lambdas: Vec<f64>,
    },
    /// A function of each number.
    Function { name: NumberFunction },
    /// The number of edges that are not above a number.
    Bins { edges: Vec<Vec<f64>> },
    /// A column of 0 and 1 for each category.
    OneHot { columns: Vec<OneHotNode> },
    /// Numbers in place of categories.
    Encode { columns: Vec<EncodeNode> },
    /// Columns that names and values are hashed into.
    Hash {
        buckets: usize,
        alternate_sign: bool,
    },
}

/// A part of a union.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnionPart {
    /// What it is called, for messages.
    pub(crate) name: String,
    /// The columns that it takes.
    pub(crate) columns: Vec<usize>,
    pub(crate) node: Node,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImputeNode {
    /// The number that counts as missing, if it is another one than NaN.
    #[serde(default)]
    pub(crate) missing: Option<f64>,
    /// The value for each column; `null` where the column is dropped.
    pub(crate) values: Vec<Option<Category>>,
    /// The columns whose missing values have a column of their own behind all others.
    #[serde(default)]
    pub(crate) indicators: Vec<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AffineNode {
    pub(crate) subtract: Option<Vec<f64>>,
    pub(crate) divide: Option<Vec<f64>>,
    pub(crate) multiply: Option<Vec<f64>>,
    pub(crate) add: Option<Vec<f64>>,
    pub(crate) clip: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PowerMethod {
    YeoJohnson,
    BoxCox,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneHotNode {
    /// `null` is the missing value.
    pub(crate) categories: Vec<Option<Category>>,
    /// Which column is 1 for each category; `null` for one that was dropped.
    pub(crate) slots: Vec<Option<u32>>,
    pub(crate) width: usize,
    pub(crate) unknown: UnknownNode,
}

/// What happens to a value that is none of the categories.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum UnknownNode {
    /// This column is 1.
    Slot(u32),
    Word(UnknownWord),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UnknownWord {
    Reject,
    Zeros,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodeNode {
    /// `null` is the missing value.
    pub(crate) categories: Vec<Option<Category>>,
    /// The numbers of each category; `null` is NaN.
    pub(crate) numbers: Vec<Vec<Option<f64>>>,
    /// The numbers of all other values. Without them they are rejected.
    #[serde(default)]
    pub(crate) unknown: Option<Vec<Option<f64>>>,
    /// How many numbers each category has.
    pub(crate) width: usize,
}
