//! Values held against the rules of their field, a column at a time.

use tidegate_core::ViolationPolicy;

use super::{Field, Rules};
use crate::error::shown;
use crate::ops::Categories;
use crate::program::{Inputs, Kind, Source};
use crate::records::Violations;
use crate::{Column, PipelineError, Reason, TextColumn};

impl Field {
    /// Checks the values of its column. Some policies change them.
    pub(crate) fn check(
        &self,
        place: usize,
        column: &mut Column,
        violations: &mut Violations<'_>,
    ) -> Result<(), PipelineError> {
        if !self.is_optional {
            self.check_required(place, column, violations)?;
        }
        self.check_categories(place, column, violations)?;
        match column {
            Column::Numbers(numbers) => self.check_range(place, numbers, violations),
            Column::Text(texts) => self.check_text(place, texts, violations),
            Column::Bytes(_) | Column::Tensor(_) => Ok(()),
        }
    }

    fn check_required(
        &self,
        place: usize,
        column: &Column,
        violations: &mut Violations<'_>,
    ) -> Result<(), PipelineError> {
        for row in 0..column.len() {
            if column.is_missing(row) && !violations.has(row, place) {
                violations.add(self, place, row, Reason::Required, missing)?;
            }
        }
        Ok(())
    }

    fn check_range(
        &self,
        place: usize,
        numbers: &mut [f64],
        violations: &mut Violations<'_>,
    ) -> Result<(), PipelineError> {
        let Some((low, high)) = self.rules.range else {
            return Ok(());
        };
        for (row, number) in numbers.iter_mut().enumerate() {
            if *number >= low && *number <= high || number.is_nan() {
                continue;
            }
            let found = *number;
            if self.policy == ViolationPolicy::Clip {
                violations.count(place, Reason::Range);
                *number = found.clamp(low, high);
                continue;
            }
            violations.add(self, place, row, Reason::Range, || {
                format!("is {found}, its range is {}", range_text(low, high))
            })?;
        }
        Ok(())
    }

    fn check_categories(
        &self,
        place: usize,
        column: &Column,
        violations: &mut Violations<'_>,
    ) -> Result<(), PipelineError> {
        let Some(categories) = &self.rules.categories else {
            return Ok(());
        };
        for row in self.outside(categories, column) {
            violations.add(self, place, row, Reason::Category, || {
                let value = match column {
                    Column::Numbers(numbers) => numbers[row].to_string(),
                    Column::Text(texts) => shown(texts.get(row).unwrap_or_default()),
                    Column::Bytes(_) | Column::Tensor(_) => String::new(),
                };
                format!("is {value}, which is none of its categories")
            })?;
        }
        Ok(())
    }

    /// The rows whose values are there and none of the categories.
    fn outside(&self, categories: &Categories, column: &Column) -> Vec<usize> {
        let source = Source::new(0, self.kind, self.name.clone());
        let rows = column.len();
        let (registers, sources) = (std::slice::from_ref(column), [source]);
        let inputs = Inputs::new(registers, &sources, rows);
        categories.outside(&inputs, self.kind == Kind::Text)
    }

    fn check_text(
        &self,
        place: usize,
        texts: &mut TextColumn,
        violations: &mut Violations<'_>,
    ) -> Result<(), PipelineError> {
        if self.rules.length.is_none() {
            return Ok(());
        }
        let mut is_cut = false;
        for row in 0..texts.len() {
            let Some(text) = texts.get(row) else { continue };
            let Some((reason, problem)) = self.rules.text_problem(text) else {
                continue;
            };
            if self.can_cut(text) {
                violations.count(place, Reason::Length);
                is_cut = true;
                continue;
            }
            violations.add(self, place, row, reason, || problem)?;
        }
        if is_cut {
            *texts = self.cut(texts);
        }
        Ok(())
    }

    fn can_cut(&self, text: &str) -> bool {
        self.policy == ViolationPolicy::Clip && self.rules.is_too_long(text)
    }

    fn cut(&self, texts: &TextColumn) -> TextColumn {
        let (_, most) = self.rules.length.unwrap_or((0, usize::MAX));
        let mut cut = TextColumn::with_capacity(texts.len());
        for text in texts.iter() {
            cut.push(text.map(|text| {
                let end = text.char_indices().nth(most);
                end.map_or(text, |(end, _)| &text[..end])
            }));
        }
        cut
    }
}

impl Rules {
    fn is_too_long(&self, text: &str) -> bool {
        let (_, most) = self.length.unwrap_or((0, usize::MAX));
        // A text has no more characters than bytes.
        text.len() > most && text.chars().count() > most
    }

    fn text_problem(&self, text: &str) -> Option<(Reason, String)> {
        let (least, most) = self.length?;
        if self.is_too_long(text) || (least > 0 && text.chars().count() < least) {
            let count = text.chars().count();
            let wanted = if most == usize::MAX {
                format!("at least {least}")
            } else {
                format!("{least} to {most}")
            };
            let problem = format!("has {count} characters, there may be {wanted}");
            return Some((Reason::Length, problem));
        }
        let pattern = self.pattern.as_ref()?;
        if pattern.is_match(text) {
            return None;
        }
        let problem = format!("is {}, which does not match its pattern", shown(text));
        Some((Reason::Pattern, problem))
    }
}

fn missing() -> String {
    "is missing".to_owned()
}

fn range_text(low: f64, high: f64) -> String {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("{low} to {high}"),
        (true, false) => format!("{low} and above"),
        _ => format!("{high} and below"),
    }
}
