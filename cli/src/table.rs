//! Columns of text for people.

use crate::style::{Painted, Palette};

/// Between two columns.
const GAP: &str = "  ";

/// The column that gives way is never made narrower than this.
const NARROWEST: usize = 8;

/// A table with so many columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    /// The column that is cut where there is not room for all.
    gives_way: usize,
    /// Whether a column without a cell is left out.
    drops_empty: bool,
    rows: Vec<[Painted<String>; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(head: [&'static str; N], gives_way: usize) -> Self {
        Self { head, gives_way, drops_empty: false, rows: Vec::new() }
    }

    /// The same table; a column in which nothing stands is left out.
    pub(crate) fn without_empty_columns(self) -> Self {
        Self { drops_empty: true, ..self }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Painted<String>; N]) {
        self.rows.push(cells);
    }

    /// The lines of the table. Where a width is given, one column gives way to it.
    pub(crate) fn render(&self, palette: Palette, width: Option<usize>) -> String {
        let shown = self.shown();
        let widths = self.widths(width, shown);
        let mut text = String::new();
        let head = self.head.map(Painted::plain);
        let lines = std::iter::once(&head).chain(&self.rows);
        for (cells, is_head) in lines.zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let cells = cells.iter().zip(widths).zip(shown).filter(|(_, shown)| *shown);
            let line: Vec<String> = cells.map(|((cell, width), _)| pad(cell, width)).collect();
            let line = line.join(GAP);
            let line = line.trim_end();
            text += &if is_head { palette.faint(line).to_string() } else { line.to_owned() };
            text.push('\n');
        }
        text
    }

    fn shown(&self) -> [bool; N] {
        let filled = |column: usize| self.rows.iter().any(|row| row[column].width() > 0);
        std::array::from_fn(|column| !self.drops_empty || filled(column))
    }

    fn widths(&self, limit: Option<usize>, shown: [bool; N]) -> [usize; N] {
        let mut widths = self.head.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let visible = || widths.iter().zip(shown).filter(|(_, shown)| *shown).map(|(width, _)| width);
        let total = visible().sum::<usize>() + GAP.len() * visible().count().saturating_sub(1);
        let excess = limit.map_or(0, |limit| total.saturating_sub(limit));
        let column = &mut widths[self.gives_way];
        *column = column.saturating_sub(excess).max(NARROWEST.min(*column));
        widths
    }
}

fn pad(cell: &Painted<String>, width: usize) -> String {
    let cell = cell.shortened(width);
    format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new(["RUN", "DAG", "STATE"], 1);
        table.row(["r1", "a_rather_long_name", "success"].map(Painted::plain));
        table.row(["r2-longer", "short", "failed"].map(Painted::plain));
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        insta::assert_snapshot!(table().render(Palette::PLAIN, None), @"
        RUN        DAG                 STATE
        r1         a_rather_long_name  success
        r2-longer  short               failed
        ");
    }

    #[test]
    fn a_column_in_which_nothing_stands_is_left_out() {
        let mut table = Table::new(["RUN", "DAG", "STATE"], 0).without_empty_columns();
        table.row(["r1-rather-long", "", "success"].map(Painted::plain));
        insta::assert_snapshot!(table.render(Palette::PLAIN, Some(20)), @"
        RUN          STATE
        r1-rather-…  success
        ");
    }

    #[test]
    fn one_column_gives_way_on_a_narrow_terminal() {
        insta::assert_snapshot!(table().render(Palette::PLAIN, Some(30)), @"
        RUN        DAG         STATE
        r1         a_rather_…  success
        r2-longer  short       failed
        ");
        assert!(table().render(Palette::PLAIN, Some(1)).contains("a_rathe…"));
    }
}
