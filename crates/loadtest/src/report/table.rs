//! Text in columns.

use std::fmt::{Display, Write as _};

/// The first column to the left, the rest to the right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row; the first is the head.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&dyn Display; N]) -> &mut Self {
        self.line(cells.iter().map(ToString::to_string).collect())
    }

    /// The same of any number of cells.
    pub(crate) fn line(&mut self, cells: Vec<String>) -> &mut Self {
        self.rows.push(cells);
        self
    }

    pub(super) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(line, "{cell:<width$}")?;
                } else {
                    write!(line, "  {cell:>width$}")?;
                }
            }
            // A table of names and values has a head without words.
            if !line.trim_end().is_empty() {
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

/// A number to `digits` places, or a dash where there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.row([&"name", &"value"]).row([&"µs", &12]).row([&"long name"]);
        assert_eq!(table.to_string(), "name       value\nµs            12\nlong name\n");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(Some(1.257), 2), "1.26");
        assert_eq!(number(None, 2), "-");
    }
}
