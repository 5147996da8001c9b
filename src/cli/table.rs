//! [`Table`]: columns that line up and fit the terminal.

use super::output::Output;
use console::{Alignment, measure_text_width, pad_str, truncate_str};

const GAP: &str = "  ";
/// A column that may shrink keeps this much.
const SHRINK_MIN: usize = 8;

/// Rows under a header. One column may be marked to shrink when the terminal is narrow.
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    shrinks: usize,
    right: Vec<usize>,
}

impl Table {
    /// A table whose column `shrinks` is cut when lines are too long.
    pub(crate) fn new(header: &[&'static str], shrinks: usize, right: &[usize]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new(), shrinks, right: right.to_vec() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Lines of at most `width` columns where that is possible; `None` is as wide as needed.
    pub(crate) fn render(&self, width: Option<usize>) -> Vec<String> {
        let header: Vec<String> = self.header.iter().map(|&title| title.to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let widest = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..header.len()).map(widest).collect();
        let total = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        if let (Some(width), Some(shrinking)) = (width, widths.get_mut(self.shrinks)) {
            let excess = total.saturating_sub(width);
            *shrinking = shrinking.saturating_sub(excess).max(SHRINK_MIN.min(*shrinking));
        }
        lines.iter().map(|line| self.render_line(line, &widths)).collect()
    }

    fn render_line(&self, line: &[String], widths: &[usize]) -> String {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let alignment = if self.right.contains(&column) { Alignment::Right } else { Alignment::Left };
            pad_str(&truncate_str(cell, *width, "…"), *width, alignment, None).into_owned()
        });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }

    /// Prints to standard output, the header dimmed.
    pub(crate) fn print(&self, output: &Output) -> Result<(), super::CliError> {
        let mut lines = self.render(output.width()).into_iter();
        let header = lines.next().unwrap_or_default();
        let mut text = output.dim(&header) + "\n";
        for line in lines {
            text += &line;
            text.push('\n');
        }
        output.text(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "SIZE"], 0, &[1]);
        table.row(vec!["a rather long name.txt".into(), "1 B".into()]);
        table.row(vec!["名".into(), "312 KiB".into()]);
        table
    }

    #[test]
    fn columns_line_up_by_displayed_width() {
        assert_eq!(
            table().render(None),
            ["NAME                       SIZE", "a rather long name.txt      1 B", "名                      312 KiB",]
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_column_that_may_shrink() {
        let lines = table().render(Some(20));
        assert_eq!(lines, ["NAME            SIZE", "a rather l…      1 B", "名           312 KiB"]);
        assert!(table().render(Some(3)).iter().all(|line| measure_text_width(line) <= SHRINK_MIN + 9));
    }
}
