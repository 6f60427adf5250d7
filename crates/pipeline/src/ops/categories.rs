//! The categories of a column, and where each is in their list.

use hashbrown::HashMap;
use tidegate_core::Category;

use crate::compile::check_numbers;
use crate::error::{CompileError, shown};
use crate::program::{Inputs, Kind, Source};

/// The code of a value that is none of the categories.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Finds values in a list of categories.
#[derive(Debug)]
pub(crate) struct Categories {
    index: Index,
    /// The place of the missing value, if it is one of them.
    missing: u32,
}

#[derive(Debug)]
enum Index {
    Text(HashMap<Box<str>, u32>),
    /// In ascending order, with their places.
    Numbers(Vec<(f64, u32)>),
}

impl Categories {
    /// The categories of a column; `None` is the missing value.
    pub(crate) fn new(
        categories: &[Option<Category>],
        source: &Source,
    ) -> Result<Self, CompileError> {
        if source.kind != Kind::Text && source.kind != Kind::Time {
            check_numbers(std::slice::from_ref(source))?;
        }
        let missing = categories.iter().position(Option::is_none);
        let index = if source.kind == Kind::Text {
            Index::texts(categories, source)?
        } else {
            Index::numbers(categories, source)?
        };
        Ok(Self {
            index,
            missing: missing.map_or(UNKNOWN, |place| place as u32),
        })
    }

    /// The place of each value of an input, or [`UNKNOWN`].
    pub(crate) fn codes(&self, inputs: &Inputs<'_>, input: usize, codes: &mut Vec<u32>) {
        codes.clear();
        match &self.index {
            Index::Text(index) => {
                let fill = inputs.source(input).fill.as_deref();
                let missing = fill.map_or(self.missing, |fill| place(index, fill));
                let texts = inputs.text(input).iter();
                codes.extend(texts.map(|text| text.map_or(missing, |text| place(index, text))));
            }
            Index::Numbers(index) => {
                let numbers = inputs.numbers(input).iter();
                codes.extend(numbers.map(|number| {
                    if number.is_nan() {
                        return self.missing;
                    }
                    // -0 is 0.
                    let number = number + 0.0;
                    let found = index.binary_search_by(|(category, _)| category.total_cmp(&number));
                    found.map_or(UNKNOWN, |at| index[at].1)
                }));
            }
        }
    }

    /// The rows whose values are there and none of the categories.
    pub(crate) fn outside(&self, inputs: &Inputs<'_>, is_text: bool) -> Vec<usize> {
        let mut codes = Vec::with_capacity(inputs.rows());
        self.codes(inputs, 0, &mut codes);
        let mut rows = Vec::new();
        for (row, code) in codes.iter().enumerate() {
            let is_missing = if is_text {
                inputs.text(0).get(row).is_none()
            } else {
                inputs.numbers(0)[row].is_nan()
            };
            if *code == UNKNOWN && !is_missing {
                rows.push(row);
            }
        }
        rows
    }
}

fn place(index: &HashMap<Box<str>, u32>, text: &str) -> u32 {
    index.get(text).copied().unwrap_or(UNKNOWN)
}

impl Index {
    fn texts(categories: &[Option<Category>], source: &Source) -> Result<Self, CompileError> {
        let mut index = HashMap::with_capacity(categories.len());
        for (place, category) in categories.iter().enumerate() {
            let text = match category {
                None => continue,
                Some(Category::Text(text)) => text,
                Some(_) => return Err(other_kind(source, "a number")),
            };
            if index.insert(text.as_str().into(), place as u32).is_some() {
                return Err(twice(source, &shown(text)));
            }
        }
        Ok(Self::Text(index))
    }

    fn numbers(categories: &[Option<Category>], source: &Source) -> Result<Self, CompileError> {
        let mut index: Vec<(f64, u32)> = Vec::with_capacity(categories.len());
        for (place, category) in categories.iter().enumerate() {
            let number = match category {
                None => continue,
                Some(Category::Integer(number)) => *number as f64,
                Some(Category::Number(number)) => *number,
                Some(Category::Text(_)) => return Err(other_kind(source, "text")),
            };
            // -0 is 0.
            index.push((number + 0.0, place as u32));
        }
        index.sort_by(|one, two| one.0.total_cmp(&two.0));
        if let Some(pair) = index.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(twice(source, &pair[0].0.to_string()));
        }
        Ok(Self::Numbers(index))
    }
}

fn twice(source: &Source, category: &str) -> CompileError {
    let name = &source.name;
    CompileError::new(format!("category {category} of \"{name}\" is listed twice"))
}

fn other_kind(source: &Source, found: &str) -> CompileError {
    let (name, kind) = (&source.name, source.kind.name());
    CompileError::new(format!(
        "a category of \"{name}\" is {found}, and its values are of type {kind}"
    ))
}
