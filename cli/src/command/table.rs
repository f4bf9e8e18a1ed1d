//! Tables that fit a terminal: columns as wide as their longest cell, the last one unpadded.

use super::out;

/// Prints a heading and rows of equal length.
pub(crate) fn print(heading: &[&str], rows: &[Vec<String>]) {
    out::write(format_args!("{}", render(heading, rows)));
}

fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| cell.to_uppercase()).collect();
    let width = |column: usize| {
        std::iter::once(&heading)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A JSON value as a cell: text without quotes, nothing for null.
pub(crate) fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["/a".into(), "1".into()], vec!["/longer".into(), "20".into()]];
        assert_eq!(render(&["id", "tasks"], &rows), "ID       TASKS\n/a       1\n/longer  20\n");
    }
}
