//! Parts of times.

use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc, Weekday};
use tidegate_core::DatePart;

use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// A column of numbers for each part of a time.
#[derive(Debug)]
pub(crate) struct DateParts {
    pub(crate) parts: Vec<DatePart>,
    /// The time zone.
    pub(crate) offset: FixedOffset,
}

impl Op for DateParts {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let rows = inputs.rows();
        let mut values = inputs.block(self.parts.len());
        for (row, micros) in inputs.numbers(0).iter().enumerate() {
            let time = self.time(*micros);
            for (at, part) in self.parts.iter().enumerate() {
                values[at * rows + row] = time.map_or(f64::NAN, |time| number(*part, &time));
            }
        }
        Ok(Column::Numbers(values))
    }
}

impl DateParts {
    /// The time in its zone; `None` if it is missing.
    fn time(&self, micros: f64) -> Option<DateTime<FixedOffset>> {
        if micros.is_nan() {
            return None;
        }
        let utc: DateTime<Utc> = DateTime::from_timestamp_micros(micros as i64)?;
        Some(utc.with_timezone(&self.offset))
    }
}

fn number(part: DatePart, time: &DateTime<FixedOffset>) -> f64 {
    match part {
        DatePart::Year => f64::from(time.year()),
        DatePart::Quarter => f64::from(time.month0() / 3 + 1),
        DatePart::Month => f64::from(time.month()),
        DatePart::Week => f64::from(time.iso_week().week()),
        DatePart::Day => f64::from(time.day()),
        DatePart::DayOfYear => f64::from(time.ordinal()),
        DatePart::Weekday => f64::from(time.weekday().num_days_from_monday()),
        DatePart::IsWeekend => {
            let is_weekend = matches!(time.weekday(), Weekday::Sat | Weekday::Sun);
            f64::from(u8::from(is_weekend))
        }
        DatePart::Hour => f64::from(time.hour()),
        DatePart::Minute => f64::from(time.minute()),
        DatePart::Second => f64::from(time.second()),
        DatePart::EpochSeconds => time.timestamp_micros() as f64 / 1e6,
    }
}
