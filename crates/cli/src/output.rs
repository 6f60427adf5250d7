//! What commands print: tables, times, sizes, and text from elsewhere.

mod escape;
mod print;

use tidegate_core::TensorSpec;

pub(crate) use self::escape::{printable, printable_json, printable_lines, shell_word};
pub(crate) use self::print::{
    DataOutput, eprint_line, eprint_text, error_line, finish, is_closed, line, print_data,
    print_json, print_json_text, print_line, print_text,
};

/// Prints rows with their columns aligned.
pub(crate) fn print_table(rows: &[impl AsRef<[String]>]) {
    print_text(&aligned(rows));
}

/// Rows with their columns aligned, one a line.
pub(crate) fn aligned(rows: &[impl AsRef<[String]>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(printable_row).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| column_width(&rows, column))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| padded(cell, *width))
            .collect();
        // Blanks at the end of a line would wrap on narrow terminals and show up in diffs.
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn printable_row(row: &impl AsRef<[String]>) -> Vec<String> {
    let cells = row.as_ref().iter();
    cells.map(|cell| printable(cell)).collect()
}

/// A cell with blanks up to a width. Formatting with a width has a limit of 65,535 characters.
fn padded(cell: &str, width: usize) -> String {
    let blanks = width.saturating_sub(cell.chars().count());
    format!("{cell}{}", " ".repeat(blanks))
}

/// The width of a column in characters.
pub(crate) fn column_width(rows: &[impl AsRef<[String]>], column: usize) -> usize {
    rows.iter()
        // Characters, because names may be in any language.
        .map(|row| row.as_ref()[column].chars().count())
        .max()
        .unwrap_or(0)
}

/// Unix milliseconds as RFC 3339 in UTC, which people read and programs sort.
pub(crate) fn timestamp(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => ms.to_string(),
    }
}

/// A number of bytes in decimal units, such as `1.5 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{count} B");
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its noun, such as `1 version` or `2 versions`.
pub(crate) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// What is wrong with something, with its name. Messages about files begin with the path already.
pub(crate) fn named_problem(name: &str, problem: &str) -> String {
    match problem.strip_prefix(name) {
        Some(rest) if rest.starts_with(':') => problem.to_owned(),
        _ => format!("{name}: {problem}"),
    }
}

/// A tensor as one line, such as `image FP32 [-1, 64]`.
pub(crate) fn tensor(spec: &TensorSpec) -> String {
    let optional = if spec.optional { ", optional" } else { "" };
    let (name, datatype, shape) = (&spec.name, spec.datatype, spec.wire_shape());
    format!("{name} {datatype} {shape:?}{optional}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_subject_once() {
        let shown = named_problem("a.json", "a.json: is not an ONNX file");
        assert_eq!(shown, "a.json: is not an ONNX file");
        assert_eq!(named_problem("a", "ab: x"), "a: ab: x");
    }

    #[test]
    fn nouns_follow_their_number() {
        let shown = [0u64, 1, 2].map(|count| counted(count, "model"));
        assert_eq!(shown, ["0 models", "1 model", "2 models"]);
    }
}
