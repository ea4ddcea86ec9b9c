//! Tables for a terminal: aligned columns, colour only where it is wanted.

use std::io::{IsTerminal, stdout};

/// How a cell is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Better than what it is compared with.
    Good,
    /// Worse than what it is compared with.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A plain cell.
    pub(crate) fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }

    /// A cell with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }

    /// A ratio to a baseline of which less is better, such as `0.87x`.
    ///
    /// Within 3 % of the baseline nothing is claimed either way: that is the
    /// noise of a quiet machine.
    pub(crate) fn ratio(value: f64) -> Cell {
        let tone = match value {
            v if v < 0.97 => Tone::Good,
            v if v > 1.03 => Tone::Bad,
            _ => Tone::Plain,
        };
        Cell { text: format!("{value:.2}x"), tone }
    }
}

/// A table: a header, rows, and lines between groups of rows.
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One line of a table.
enum Row {
    Cells(Vec<Cell>),
    Rule,
}

impl Table {
    /// A table with the given column heads.
    pub(crate) fn new(heads: &[&str]) -> Table {
        let head = heads.iter().map(|head| Cell::toned(*head, Tone::Strong)).collect();
        Table { rows: vec![Row::Cells(head), Row::Rule] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line.
    pub(crate) fn rule(&mut self) {
        self.rows.push(Row::Rule);
    }

    /// Prints it to standard output, in colour when that is a terminal.
    pub(crate) fn print(&self) {
        print!("{}", self.render(stdout().is_terminal()));
    }

    /// The table as text. The first column is flush left, the others right.
    fn render(&self, colour: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let line = match row {
                Row::Rule => {
                    let lines: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
                    paint(&lines.join("──"), Tone::Faint, colour)
                }
                Row::Cells(cells) => {
                    let padded =
                        cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                            // Padding counts characters, so it comes before the colour.
                            let text = match at {
                                0 => format!("{:<width$}", cell.text),
                                _ => format!("{:>width$}", cell.text),
                            };
                            paint(&text, cell.tone, colour)
                        });
                    padded.collect::<Vec<_>>().join("  ")
                }
            };
            text.push_str(&format!("  {}\n", line.trim_end()));
        }
        text
    }

    /// The width of each column.
    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }
}

/// `text` in the colour of `tone`, when colour is wanted at all.
pub(crate) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Bad => "33",
        Tone::Faint => "2",
        Tone::Strong => "1",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Prints a heading to standard output.
pub(crate) fn heading(text: &str) {
    println!("\n{}", paint(text, Tone::Strong, stdout().is_terminal()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let mut table = Table::new(&["name", "ratio"]);
        table.row(vec![Cell::new("a"), Cell::ratio(0.5)]);
        table.row(vec![Cell::new("longer"), Cell::ratio(12.25)]);
        let plain = table.render(false);
        let lines: Vec<_> = plain.lines().map(|line| line.chars().count()).collect();
        assert!(lines.iter().all(|length| *length == lines[0]), "{plain}");
        let colour = table.render(true);
        assert!(colour.contains("\x1b[32m 0.50x\x1b[0m"), "{colour:?}");
    }

    #[test]
    fn a_ratio_near_one_claims_nothing() {
        assert_eq!(Cell::ratio(1.02).tone, Tone::Plain);
        assert_eq!(Cell::ratio(1.04).tone, Tone::Bad);
        assert_eq!(Cell::ratio(0.90).tone, Tone::Good);
    }
}
