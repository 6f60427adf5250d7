//! Files of a request that are decoded at the same time.

use rayon::prelude::*;

use crate::RowError;

/// Does the same to all rows, several at once: as many as there are processors, for all requests
/// together. The results are in order, and so is the error: that of the first row that has one.
pub(crate) fn each_row<T: Send, R: Send>(
    rows: Vec<T>,
    work: impl Fn(usize, T) -> Result<R, RowError> + Sync + Send,
) -> Result<Vec<R>, RowError> {
    if rows.len() < 2 {
        let rows = rows.into_iter().enumerate();
        return rows.map(|(row, of_row)| work(row, of_row)).collect();
    }
    let rows = rows.into_par_iter().enumerate();
    let made: Vec<Result<R, RowError>> = rows.map(|(row, of_row)| work(row, of_row)).collect();
    made.into_iter().collect()
}

/// What rows take that are decoded at the same time, at most, from what each takes.
pub(crate) fn bytes_at_once(mut of_rows: Vec<usize>) -> usize {
    let at_once = rayon::current_num_threads();
    of_rows.sort_unstable_by(|one, other| other.cmp(one));
    let largest = of_rows.into_iter().take(at_once);
    largest.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn refuse(row: usize) -> RowError {
        RowError {
            row,
            field: "photo".into(),
            reason: Reason::Type,
            problem: "is broken".to_owned(),
        }
    }

    #[test]
    fn the_first_bad_row_is_named_whichever_ends_first() {
        let bad = |row, ()| {
            if row % 7 == 3 {
                Err(refuse(row))
            } else {
                Ok(row)
            }
        };
        for _ in 0..20 {
            assert_eq!(each_row(vec![(); 100], bad).unwrap_err().row, 3);
        }
        assert_eq!(each_row(vec![(); 3], bad).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn as_many_of_the_largest_rows_count_as_are_decoded_at_once() {
        let at_once = rayon::current_num_threads();
        assert_eq!(bytes_at_once(vec![5; at_once + 3]), 5 * at_once);
        assert_eq!(bytes_at_once(vec![1, 9]), if at_once == 1 { 9 } else { 10 });
        assert_eq!(bytes_at_once(Vec::new()), 0);
    }
}
