//! The value axis of a chart.

/// The number of marks that an axis aims at.
const MARKS: f64 = 4.0;

/// From the lowest mark to the highest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    least: f64,
    most: f64,
    step: f64,
}

impl Scale {
    /// An axis that covers all values. `least` and `most` include zero; `whole`, such as a whole budget, is
    /// covered too if it is given.
    pub(super) fn over((least, most): (f64, f64), whole: Option<f64>) -> Self {
        let most = most.max(whole.unwrap_or(0.0));
        let step = step(most - least);
        let least = (least / step).floor() * step;
        // A value that is at most 2 % of a step above a mark is drawn at that mark: another step above it
        // would stay empty. The axis has at least one step.
        let most = ((most / step - 0.02).ceil().max(least / step + 1.0)) * step;
        Self { least, most, step }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn place(self, value: f64) -> f64 {
        match value.is_finite() {
            true => ((value - self.least) / (self.most - self.least)).clamp(0.0, 1.0),
            false => 0.0,
        }
    }

    /// The values that have a mark.
    pub(super) fn marks(self) -> impl Iterator<Item = f64> {
        let count = ((self.most - self.least) / self.step).round() as u32;
        (0..=count).map(move |at| {
            let value = self.least + f64::from(at) * self.step;
            // Sums of steps such as 0.1 miss zero by a hair, and -0 would be written with its sign.
            if value.abs() < self.step / 1e6 {
                0.0
            } else {
                value
            }
        })
    }
}

/// The distance of marks: 1, 2 or 5 times a power of ten.
fn step(span: f64) -> f64 {
    if span.is_nan() || span <= 0.0 {
        return 1.0;
    }
    let raw = span / MARKS;
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        // The tiny addition makes up for floating point: 0.2 must not become 0.5.
        .find(|factor| raw <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_have_room_for_all_values() {
        let marks = |extremes, whole| Scale::over(extremes, whole).marks().collect::<Vec<_>>();
        assert_eq!(marks((0.0, 47.0), None), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(marks((0.0, 0.0), None), [0.0, 1.0]);
        assert_eq!(marks((0.0, 0.3), Some(1.0)), [0.0, 0.5, 1.0]);
        assert_eq!(marks((-1.5, 1.0), Some(1.0)), [-2.0, -1.0, 0.0, 1.0]);
        let scale = Scale::over((-1.5, 1.0), Some(1.0));
        assert_eq!(
            (scale.place(-2.0), scale.place(1.0), scale.place(f64::NAN)),
            (0.0, 1.0, 0.0)
        );
    }
}
