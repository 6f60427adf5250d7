//! Vectors of tokens to vectors of texts, as sentence-transformers computes them
//! (`sentence_transformers/models/Pooling.py`): in single precision.

use std::borrow::Cow;

use tidegate_core::{DataType, PoolMode, Tensor, bf16, f16};

use crate::program::{Inputs, Op};
use crate::{Column, Reason, RowError};

/// What the number of tokens is at least, so that rows without tokens divide nothing by 0.
const MIN_COUNT: f32 = 1e-9;
/// What stands in for the vectors of padding when the largest numbers are sought.
const MASKED: f32 = -1e9;

/// One vector for each row: of a tensor of tokens' vectors and its mask.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) mode: PoolMode,
    /// The numbers of a vector.
    pub(crate) width: usize,
}

impl Op for Pool {
    fn run(&self, inputs: &Inputs<'_>) -> Result<Column, RowError> {
        let (rows, tensor) = (inputs.rows(), inputs.tensor(0));
        let mask = mask(inputs.tensor(1));
        let length = tensor.shape().get(1).copied().unwrap_or(0);
        if mask.len() != rows * length || length == 0 {
            let problem = format!(
                "has vectors for {length} tokens, and the mask is of {}",
                mask.len() / rows.max(1)
            );
            return Err(inputs.error(0, 0, Reason::Type, problem));
        }
        let vectors = singles(tensor);
        let mut numbers = vec![0.0; rows * self.width];
        let mut pooled = vec![0.0; self.width];
        for row in 0..rows {
            let tokens = row * length..(row + 1) * length;
            let own = &vectors[tokens.start * self.width..tokens.end * self.width];
            self.pool(own, &mask[tokens], &mut pooled);
            for (column, number) in pooled.iter().enumerate() {
                numbers[column * rows + row] = f64::from(*number);
            }
        }
        Ok(Column::Numbers(numbers))
    }
}

impl Pool {
    /// The vector of one row.
    fn pool(&self, vectors: &[f32], mask: &[bool], pooled: &mut [f32]) {
        match self.mode {
            PoolMode::Mean => self.mean(vectors, mask, pooled, |count| count),
            PoolMode::MeanSqrtLen => self.mean(vectors, mask, pooled, f32::sqrt),
            PoolMode::Cls => pooled.copy_from_slice(&vectors[..self.width]),
            PoolMode::Max => self.max(vectors, mask, pooled),
            PoolMode::LastToken => match mask.iter().rposition(|is_token| *is_token) {
                Some(last) => {
                    pooled.copy_from_slice(&vectors[last * self.width..(last + 1) * self.width]);
                }
                None => pooled.fill(0.0),
            },
        }
    }

    fn mean(
        &self,
        vectors: &[f32],
        mask: &[bool],
        pooled: &mut [f32],
        divisor: impl Fn(f32) -> f32,
    ) {
        pooled.fill(0.0);
        let mut count = 0.0f32;
        for (vector, is_token) in vectors.chunks_exact(self.width).zip(mask) {
            if *is_token {
                count += 1.0;
                for (sum, number) in pooled.iter_mut().zip(vector) {
                    *sum += number;
                }
            }
        }
        let divisor = divisor(count.max(MIN_COUNT));
        pooled.iter_mut().for_each(|sum| *sum /= divisor);
    }

    fn max(&self, vectors: &[f32], mask: &[bool], pooled: &mut [f32]) {
        pooled.fill(f32::NEG_INFINITY);
        for (vector, is_token) in vectors.chunks_exact(self.width).zip(mask) {
            for (largest, number) in pooled.iter_mut().zip(vector) {
                let number = if *is_token { *number } else { MASKED };
                // As PyTorch: what is not a number stays so.
                if number > *largest || number.is_nan() {
                    *largest = number;
                }
            }
        }
    }
}

/// Where tokens are.
fn mask(tensor: &Tensor) -> Vec<bool> {
    if let Some(mask) = tensor.to_vec::<i64>() {
        return mask.into_iter().map(|mark| mark != 0).collect();
    }
    let mask = tensor.to_vec::<i32>().unwrap_or_default();
    mask.into_iter().map(|mark| mark != 0).collect()
}

/// The numbers of a tensor in single precision.
fn singles(tensor: &Tensor) -> Cow<'_, [f32]> {
    if let Some(numbers) = tensor.as_slice::<f32>() {
        return Cow::Borrowed(numbers);
    }
    Cow::Owned(match tensor.datatype() {
        DataType::Fp16 => narrowed(tensor.to_vec::<f16>(), f16::to_f32),
        DataType::Bf16 => narrowed(tensor.to_vec::<bf16>(), bf16::to_f32),
        DataType::Fp64 => narrowed(tensor.to_vec::<f64>(), |number| number as f32),
        _ => tensor.to_vec::<f32>().unwrap_or_default(),
    })
}

fn narrowed<T>(numbers: Option<Vec<T>>, narrow: impl Fn(T) -> f32) -> Vec<f32> {
    let numbers = numbers.unwrap_or_default();
    numbers.into_iter().map(narrow).collect()
}
