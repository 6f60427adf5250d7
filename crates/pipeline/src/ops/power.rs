//! Power transforms, as SciPy computes them.

use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// A power transform with an exponent for each column.
#[derive(Debug)]
pub(crate) enum Power {
    /// Yeo and Johnson 2000, for all numbers.
    YeoJohnson(Vec<f64>),
    /// Box and Cox 1964, for positive numbers.
    BoxCox(Vec<f64>),
}

impl Op for Power {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        match self {
            Self::YeoJohnson(lambdas) => {
                Ok(inputs.each(|input, value| yeo_johnson(value, lambdas[input])))
            }
            Self::BoxCox(lambdas) => {
                check_positive(inputs)?;
                Ok(inputs.each(|input, value| box_cox(value, lambdas[input])))
            }
        }
    }
}

fn check_positive(inputs: &Inputs<'_>) -> Result<(), RowError> {
    for input in 0..inputs.len() {
        let numbers = inputs.numbers(input);
        if let Some(row) = numbers.iter().position(|value| *value <= 0.0) {
            let problem = format!(
                "is {}, and its Box-Cox transform takes positive numbers only",
                numbers[row]
            );
            return Err(inputs.error(input, row, Reason::Range, problem));
        }
    }
    Ok(())
}

/// `scipy.stats.yeojohnson` of a number with a given lambda.
fn yeo_johnson(x: f64, lambda: f64) -> f64 {
    if x >= 0.0 {
        if lambda.abs() < f64::EPSILON {
            x.ln_1p()
        } else {
            (lambda * x.ln_1p()).exp_m1() / lambda
        }
    } else if (lambda - 2.0).abs() > f64::EPSILON {
        -((2.0 - lambda) * (-x).ln_1p()).exp_m1() / (2.0 - lambda)
    } else {
        -(-x).ln_1p()
    }
}

/// `scipy.special.boxcox`.
fn box_cox(x: f64, lambda: f64) -> f64 {
    // Below this, the power is 1 to the last bit and its difference to 1 would be lost.
    if lambda.abs() < 1e-19 {
        return x.ln();
    }
    let exponent = lambda * x.ln();
    // Above this, `exp` overflows where the quotient does not.
    if exponent < 709.78 {
        exponent.exp_m1() / lambda
    } else {
        lambda.signum() * (exponent - lambda.abs().ln()).exp() - 1.0 / lambda
    }
}
