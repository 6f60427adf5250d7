//! A small line without axes, beside a figure in a table.

use std::fmt::Write;

use maud::{Markup, html};

use super::round;

const WIDTH: f64 = 104.0;
const HEIGHT: f64 = 26.0;

/// The values from left to right over the ground; nothing if all of them are missing.
pub(crate) fn spark(values: &[Option<f64>]) -> Markup {
    let most = values
        .iter()
        .flatten()
        .copied()
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max);
    if most <= 0.0 || values.len() < 2 {
        return html! {};
    }
    let (mut line, mut area) = (String::new(), format!("M0 {HEIGHT}"));
    for (at, value) in values.iter().enumerate() {
        let x = round(at as f64 / (values.len() - 1) as f64 * WIDTH);
        // One unit below and two above keep the stroke inside the picture.
        let y = round(HEIGHT - 1.0 - value.unwrap_or(0.0).clamp(0.0, most) / most * (HEIGHT - 3.0));
        let _ = write!(line, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
        let _ = write!(area, "L{x} {y}");
    }
    let _ = write!(area, "L{WIDTH} {HEIGHT}Z");
    html! {
        // Hidden from screen readers: the figure beside it says the value.
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" aria-hidden="true" {
            path.area d=(area) {}
            path d=(line) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(spark(&[Some(0.0), None]).into_string(), "");
        assert_eq!(spark(&[Some(1.0)]).into_string(), "");
        let svg = spark(&[Some(1.0), None, Some(f64::NAN), Some(2.0)]).into_string();
        assert!(
            svg.contains("<path") && svg.contains("M0 13.5L34.7 25"),
            "{svg}"
        );
    }
}
