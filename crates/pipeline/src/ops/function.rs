//! Functions of one or two numbers.

use tidegate_core::NumberFunction;

use crate::program::{Inputs, Op};
use crate::{Column, RowError};

/// A function of each number.
#[derive(Debug)]
pub(crate) struct Function(pub(crate) NumberFunction);

impl Op for Function {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let function: fn(f64) -> f64 = match self.0 {
            NumberFunction::Log1p => f64::ln_1p,
            NumberFunction::Log => f64::ln,
            NumberFunction::Log2 => f64::log2,
            NumberFunction::Log10 => f64::log10,
            NumberFunction::Exp => f64::exp,
            NumberFunction::Expm1 => f64::exp_m1,
            NumberFunction::Sqrt => f64::sqrt,
            NumberFunction::Cbrt => f64::cbrt,
            NumberFunction::Square => square,
            NumberFunction::Absolute => f64::abs,
            NumberFunction::Negative => negative,
            NumberFunction::Reciprocal => f64::recip,
            NumberFunction::Sign => sign,
            NumberFunction::Sin => f64::sin,
            NumberFunction::Cos => f64::cos,
            NumberFunction::Tanh => f64::tanh,
            NumberFunction::Floor => f64::floor,
            NumberFunction::Ceil => f64::ceil,
            NumberFunction::Rint => f64::round_ties_even,
        };
        Ok(inputs.each(|_, value| function(value)))
    }
}

fn square(value: f64) -> f64 {
    value * value
}

fn negative(value: f64) -> f64 {
    -value
}

/// As NumPy's: 0 at 0, where Rust's `signum` is 1.
fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Sine and cosine of a number that repeats itself: two columns.
#[derive(Debug)]
pub(crate) struct Cyclical {
    pub(crate) period: f64,
}

impl Op for Cyclical {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let numbers = inputs.numbers(0);
        let scale = std::f64::consts::TAU / self.period;
        let mut values = Vec::with_capacity(2 * inputs.rows());
        values.extend(numbers.iter().map(|value| (value * scale).sin()));
        values.extend(numbers.iter().map(|value| (value * scale).cos()));
        Ok(Column::Numbers(values))
    }
}

/// The first number divided by the second.
#[derive(Debug)]
pub(crate) struct Ratio {
    /// The result where the second is 0.
    pub(crate) on_zero: f64,
}

impl Op for Ratio {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let mut values = Vec::with_capacity(inputs.rows());
        for (numerator, denominator) in inputs.numbers(0).iter().zip(inputs.numbers(1)) {
            values.push(if *denominator == 0.0 {
                self.on_zero
            } else {
                numerator / denominator
            });
        }
        Ok(Column::Numbers(values))
    }
}

/// Fewer digits behind the point, as `numpy.round`.
#[derive(Debug)]
pub(crate) struct Round {
    /// The power of ten of the last digit.
    pub(crate) scale: f64,
}

impl Op for Round {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        Ok(inputs.each(|_, value| {
            let rounded = (value * self.scale).round_ties_even() / self.scale;
            // A number too large for the product has no digits behind the point anyway.
            if rounded.is_finite() { rounded } else { value }
        }))
    }
}
