//! Tables of text: aligned columns, a header that names the unit, no blank inside a cell, so that `awk` can read them.

use std::io::{self, Write};

/// A column's header and side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    header: String,
    right: bool,
}

/// A column of words.
pub fn text(header: impl Into<String>) -> Column {
    Column { header: header.into(), right: false }
}

/// A column of numbers; `unit` goes into the header: `RX(packets)`.
pub fn number(header: impl Into<String>, unit: &str) -> Column {
    let header: String = header.into();
    let header = if unit.is_empty() { header } else { format!("{header}({unit})") };
    Column { header, right: true }
}

/// Rows under columns.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns and no rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row: a cell per column. An empty cell is shown as `-`; blanks in a cell as `_`.
    pub fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        let clean = |cell: String| match cell.as_str() {
            "" => "-".to_owned(),
            c if c.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                c.replace(|c: char| c.is_whitespace() || c.is_control(), "_")
            }
            _ => cell,
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Writes it, or `no NOUNS` when there are no rows.
    pub fn write(&self, nouns: &str, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "no {nouns}");
        }
        let width = |i: usize| {
            let cells = self.rows.iter().map(|row| row[i].chars().count());
            cells.chain([self.columns[i].header.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let headers: Vec<String> = self.columns.iter().map(|c| c.header.clone()).collect();
        for row in [&headers].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                if column.right {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
