//! Labels and decisions.

use super::scores::score;
use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError, TextColumn};

/// The label of a class.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) labels: Vec<String>,
}

impl Op for Label {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut texts = TextColumn::with_capacity(inputs.rows());
        for (row, class) in inputs.numbers(0).iter().enumerate() {
            texts.push(Some(self.label(inputs, row, *class)?));
        }
        Ok(Column::Text(texts))
    }
}

impl Label {
    fn label(&self, inputs: &Inputs<'_>, row: usize, class: f64) -> Result<&str, RowError> {
        let is_place = class >= 0.0 && class.fract() == 0.0;
        let label = is_place.then(|| self.labels.get(class as usize)).flatten();
        label.map(String::as_str).ok_or_else(|| {
            let count = self.labels.len();
            let problem = format!("is {class}, and there are labels for 0 to {}", count - 1);
            inputs.error(0, row, Reason::Range, problem)
        })
    }
}

/// The decision of the first threshold that a score reaches.
#[derive(Debug)]
pub(crate) struct Threshold {
    /// The thresholds with their decisions, the highest first.
    pub(crate) rules: Vec<(f64, String)>,
    pub(crate) otherwise: String,
}

impl Op for Threshold {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut texts = TextColumn::with_capacity(inputs.rows());
        for row in 0..inputs.rows() {
            let score = score(inputs, 0, row)?;
            let rule = self.rules.iter().find(|(at_least, _)| score >= *at_least);
            texts.push(Some(rule.map_or(&self.otherwise, |(_, decision)| decision)));
        }
        Ok(Column::Text(texts))
    }
}
