//! Rows of tensors: which of them a tensor has, and how rows are taken out and put together.

use std::sync::Arc;

use tidegate_core::{Tensor, TensorError};

/// Some of the rows of a request.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    All,
    /// Their numbers, ascending.
    Some(Arc<[usize]>),
}

impl Rows {
    /// These rows of so many.
    pub(crate) fn of(numbers: Vec<usize>, rows: usize) -> Self {
        match numbers.len() == rows {
            true => Self::All,
            false => Self::Some(numbers.into()),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Some(numbers) if numbers.is_empty())
    }

    /// How many of so many they are.
    pub(crate) fn count(&self, rows: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Some(numbers) => numbers.len(),
        }
    }

    /// Their numbers, of so many rows.
    pub(crate) fn numbers(&self, rows: usize) -> Vec<usize> {
        match self {
            Self::All => (0..rows).collect(),
            Self::Some(numbers) => numbers.to_vec(),
        }
    }

    /// The rows that both have.
    pub(crate) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, rows) | (rows, Self::All) => rows.clone(),
            (Self::Some(one), Self::Some(two)) if Arc::ptr_eq(one, two) => self.clone(),
            (Self::Some(one), Self::Some(two)) => {
                let both = one.iter().filter(|row| two.binary_search(row).is_ok());
                Self::Some(both.copied().collect())
            }
        }
    }

    /// The rows, of so many, that the other one lacks.
    pub(crate) fn without(&self, other: &Self, rows: usize) -> Self {
        match other {
            Self::All => Self::Some(Arc::default()),
            Self::Some(taken) => {
                let mut own = self.numbers(rows);
                own.retain(|row| taken.binary_search(row).is_err());
                Self::of(own, rows)
            }
        }
    }

    /// A tensor that has these rows, with the rows of `wanted` alone, all of which it has.
    pub(crate) fn restrict(&self, tensor: &Tensor, wanted: &Self) -> Result<Tensor, TensorError> {
        let places: Vec<usize> = match (self, wanted) {
            (Self::Some(own), Self::Some(wanted)) if own.len() != wanted.len() => {
                let place = |row: &usize| own.binary_search(row).ok();
                wanted.iter().filter_map(place).collect()
            }
            (Self::All, Self::Some(wanted)) => wanted.to_vec(),
            _ => return Ok(tensor.clone()),
        };
        let picks: Vec<Pick> = places
            .into_iter()
            .map(|row| Pick { part: 0, row })
            .collect();
        join_rows(&[tensor], &picks)
    }
}

/// A row of one of some tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) part: usize,
    pub(crate) row: usize,
}

/// One tensor of rows of others. Rows that follow each other are copied at once.
pub(crate) fn join_rows(parts: &[&Tensor], picks: &[Pick]) -> Result<Tensor, TensorError> {
    let follows = |one: &Pick, next: &Pick| one.part == next.part && one.row + 1 == next.row;
    let mut slices = Vec::new();
    for run in picks.chunk_by(follows) {
        let Pick { part, row } = run[0];
        slices.push(parts[part].slice_rows(row, run.len()));
    }
    let slices: Vec<&Tensor> = slices.iter().collect();
    Tensor::concat_rows(&slices)
}

#[cfg(test)]
mod tests {
    use tidegate_core::Shape;

    use super::*;

    fn rows(numbers: &[usize]) -> Rows {
        Rows::of(numbers.to_vec(), 6)
    }

    #[test]
    fn rows_are_taken_apart_and_put_together() {
        let both = rows(&[0, 2, 4]).and(&rows(&[2, 3, 4]));
        assert_eq!(both.numbers(6), [2, 4]);
        assert_eq!(Rows::All.without(&both, 6).numbers(6), [0, 1, 3, 5]);
        assert!(rows(&[1]).without(&Rows::All, 6).is_none());
        assert_eq!(rows(&[0, 1, 2, 3, 4, 5]).count(6), 6);
    }

    #[test]
    fn a_part_of_a_part_has_the_right_rows() {
        let shape = Shape::new(&[3, 2]).unwrap();
        let tensor = Tensor::from_vec(shape, vec![10i64, 11, 20, 21, 40, 41]).unwrap();
        let own = rows(&[1, 2, 4]);
        let part = own.restrict(&tensor, &rows(&[1, 4])).unwrap();
        assert_eq!(part.to_vec::<i64>().unwrap(), [10, 11, 40, 41]);
        let same = own.restrict(&tensor, &rows(&[1, 2, 4])).unwrap();
        assert_eq!(same.shape()[..], [3, 2]);
    }
}
