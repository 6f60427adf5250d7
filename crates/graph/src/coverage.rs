//! Which rows a tensor has, as far as the conditions of nodes tell.

/// A set of conditions that hold for every row that a tensor has, by their places as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Conditions that are true.
    yes: u64,
    /// Conditions that are not.
    no: u64,
}

impl Coverage {
    /// Whether every row is there.
    pub(crate) fn is_all(self) -> bool {
        self == Self::default()
    }

    /// Whether no row can be there.
    pub(crate) fn is_none(self) -> bool {
        self.yes & self.no != 0
    }

    /// The rows that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            yes: self.yes | other.yes,
            no: self.no | other.no,
        }
    }

    /// The rows for which a condition holds too, or does not.
    pub(crate) fn when(self, condition: usize, holds: bool) -> Self {
        let bit = 1 << condition;
        match holds {
            true => Self {
                yes: self.yes | bit,
                ..self
            },
            false => Self {
                no: self.no | bit,
                ..self
            },
        }
    }

    /// Whether this has every row that the other one has.
    fn includes(self, other: Self) -> bool {
        self.yes & !other.yes == 0 && self.no & !other.no == 0
    }

    /// The rows of both, where they are two sides of one condition.
    fn rejoined(self, other: Self) -> Option<Self> {
        let (yes, no) = (self.yes ^ other.yes, self.no ^ other.no);
        let is_one = yes == no && yes.is_power_of_two();
        is_one.then_some(Self {
            yes: self.yes & other.yes,
            no: self.no & other.no,
        })
    }

    /// The rows that any of these have; `None` if no conditions describe them.
    pub(crate) fn any_of(parts: &[Self]) -> Option<Self> {
        let mut parts = parts.to_vec();
        while let Some((one, other, joined)) = next_rejoined(&parts) {
            parts.swap_remove(other.max(one));
            parts.swap_remove(other.min(one));
            parts.push(joined);
        }
        let mut all = parts.iter();
        let widest = all.find(|part| parts.iter().all(|other| part.includes(*other)));
        widest.copied()
    }
}

fn next_rejoined(parts: &[Coverage]) -> Option<(usize, usize, Coverage)> {
    for (at, one) in parts.iter().enumerate() {
        for (other_at, other) in parts.iter().enumerate().skip(at + 1) {
            if let Some(joined) = one.rejoined(*other) {
                return Some((at, other_at, joined));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Coverage {
        Coverage::default()
    }

    #[test]
    fn the_sides_of_a_condition_have_all_rows_together() {
        let (yes, no) = (all().when(0, true), all().when(0, false));
        assert_eq!(Coverage::any_of(&[yes, no]), Some(all()));
        assert_eq!(Coverage::any_of(&[yes]), Some(yes));
        // A chain of conditions: if, else if, else.
        let (second, last) = (no.when(1, true), no.when(1, false));
        assert_eq!(Coverage::any_of(&[last, yes, second]), Some(all()));
        assert_eq!(Coverage::any_of(&[second, last]), Some(no));
    }

    #[test]
    fn sides_of_different_conditions_prove_nothing() {
        let (one, other) = (all().when(0, true), all().when(1, false));
        assert_eq!(Coverage::any_of(&[one, other]), None);
        assert_eq!(Coverage::any_of(&[one, all()]), Some(all()));
        assert_eq!(Coverage::any_of(&[]), None);
        assert!(all().when(3, true).and(all().when(3, false)).is_none());
    }
}
