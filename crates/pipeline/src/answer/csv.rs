//! Answers as CSV.

use super::Answer;

/// Writes a header and a line for each row. A row that has failed has empty cells, and its problem in a
/// last column `error`, which is there if a row has failed. Arrays are JSON in their cell.
pub(super) fn encode(answer: &Answer<'_>, out: &mut Vec<u8>) {
    let has_failed = answer.failed().next().is_some();
    for (at, field) in answer.fields.iter().enumerate() {
        separate(out, at);
        push_cell(out, &field.name);
    }
    if has_failed {
        out.extend_from_slice(b",error");
    }
    out.extend_from_slice(b"\r\n");
    let mut failed = answer.failed();
    for place in answer.places() {
        match place {
            Some(place) => {
                for at in 0..answer.fields.len() {
                    separate(out, at);
                    push_value(answer, at, place, out);
                }
                if has_failed {
                    out.push(b',');
                }
            }
            None => {
                out.extend(std::iter::repeat_n(b',', answer.fields.len()));
                if let Some(error) = failed.next() {
                    push_cell(out, &error.to_string());
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

/// A value as JSON without the quotes of text; nothing for a missing one.
fn push_value(answer: &Answer<'_>, field: usize, place: usize, out: &mut Vec<u8>) {
    let mut json = Vec::new();
    answer.encode_value(field, place, &mut json);
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    if json == "null" {
        return;
    }
    match serde_json::from_str::<String>(&json) {
        Ok(text) => push_cell(out, &text),
        Err(_) => push_cell(out, &json),
    }
}

/// Quoted where RFC 4180 asks for it. What a spreadsheet would run as a formula is quoted, too, with a
/// mark before it.
fn push_cell(out: &mut Vec<u8>, text: &str) {
    let is_formula = text.starts_with(['=', '@', '\t', '\r'])
        || (text.starts_with(['+', '-']) && text.parse::<f64>().is_err());
    let needs_quotes = is_formula || text.contains([',', '"', '\n', '\r']);
    if !needs_quotes {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    if is_formula {
        out.push(b'\'');
    }
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}
