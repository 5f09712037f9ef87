//! Tables for people, no wider than there is room. A table of text that is too
//! wide has its longest cells cut; one of an arm and a workload each way is told
//! in fewer words, turned round, or in parts.

use std::fmt::Write;

use crate::printable::printable;

/// Blanks before a table, and between columns.
const MARGIN: usize = 2;
/// What is left of a cell that is cut, at least.
const LEAST: usize = 12;

/// A table with a name for each row and column.
pub(super) struct Grid {
    /// What the rows are.
    pub corner: String,
    /// What they are once the table is turned round.
    pub turned_corner: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows: a name, and a cell for each column.
    pub rows: Vec<(String, Vec<Cell>)>,
    /// What the short words of cells mean.
    pub legend: String,
}

/// A cell in full and in few characters.
#[derive(Clone)]
pub(super) struct Cell {
    pub full: String,
    pub short: String,
}

impl Cell {
    /// One that has no shorter words.
    pub(super) fn of(text: String) -> Self {
        Self {
            short: text.clone(),
            full: text,
        }
    }
}

impl Grid {
    /// The table in the first form that fits: in full, turned round, in short
    /// words, with letters for columns; or else in parts of some columns each.
    /// An empty line follows. A table without rows is nothing.
    pub(super) fn within(&self, width: usize) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let turned = self.turned();
        let full = |grid: &Self| grid.cells(&grid.columns, false);
        let short = |grid: &Self| grid.cells(&grid.columns, true);
        let lettered = |grid: &Self| grid.cells(&letters(grid.columns.len()), true);
        let meaning = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            wrapped(&words, " ", width) + "\n"
        };
        for (grid, cells) in [(self, full(self)), (&turned, full(&turned))] {
            // Turned round it is for reading down, which needs some columns.
            if needs(&cells) <= width && (std::ptr::eq(grid, self) || cells.len() > 2) {
                return aligned(&cells) + "\n";
            }
        }
        for (grid, cells) in [(self, short(self)), (&turned, short(&turned))] {
            if needs(&cells) <= width {
                return aligned(&cells) + &meaning(&grid.legend);
            }
        }
        for (grid, cells) in [(self, lettered(self)), (&turned, lettered(&turned))] {
            if needs(&cells) <= width {
                return aligned(&cells) + &grid.key(width) + &meaning(&grid.legend);
            }
        }
        parts(&short(self), width) + &meaning(&self.legend)
    }

    /// Rows as columns.
    fn turned(&self) -> Self {
        let row = |(place, name): (usize, &String)| {
            let cells = self.rows.iter().map(|(_, cells)| cells.get(place).cloned());
            let cells = cells.map(|cell| cell.unwrap_or_else(|| Cell::of(String::new())));
            (name.clone(), cells.collect())
        };
        Self {
            corner: self.turned_corner.clone(),
            turned_corner: self.corner.clone(),
            columns: self.rows.iter().map(|(name, _)| name.clone()).collect(),
            rows: self.columns.iter().enumerate().map(row).collect(),
            legend: self.legend.clone(),
        }
    }

    fn cells(&self, columns: &[String], short: bool) -> Vec<Vec<String>> {
        let mut heading = vec![self.corner.clone()];
        heading.extend_from_slice(columns);
        let mut all = vec![heading];
        for (name, cells) in &self.rows {
            let mut row = vec![name.clone()];
            let cells = cells.iter();
            row.extend(cells.map(|cell| if short { &cell.short } else { &cell.full }.clone()));
            all.push(row);
        }
        all
    }

    /// Which letter stands for which column.
    fn key(&self, width: usize) -> String {
        let names = letters(self.columns.len()).into_iter().zip(&self.columns);
        let words: Vec<String> = names
            .map(|(letter, name)| format!("{letter} {name}"))
            .collect();
        wrapped(&words, ", ", width)
    }
}

/// Words, separated, on lines no longer than there is room; each is indented.
pub(super) fn wrapped(words: &[String], separator: &str, width: usize) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in words {
        let word = printable(word);
        // With what separates it from the next line.
        let longer = line.chars().count() + 2 * separator.len() + word.chars().count();
        if !line.is_empty() && MARGIN + longer > width {
            let _ = writeln!(text, "  {}{}", line, separator.trim_end());
            line.clear();
        }
        if !line.is_empty() {
            line.push_str(separator);
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// A, B, ... Z, AA, AB, ...
fn letters(count: usize) -> Vec<String> {
    let letter = |place: usize| char::from(b'A' + u8::try_from(place % 26).unwrap_or(0));
    let name = |place: usize| match place / 26 {
        0 => letter(place).to_string(),
        more => format!("{}{}", letter(more - 1), letter(place)),
    };
    (0..count).map(name).collect()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// The width that these rows need.
fn needs(rows: &[Vec<String>]) -> usize {
    let widths = widths(rows);
    widths.iter().map(|width| width + MARGIN).sum()
}

/// Rows as aligned columns.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{:width$}", printable(cell)))
            .collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

/// Rows as aligned columns in some width: the longest columns are cut until all
/// fit, but for the narrowest terminals.
pub(crate) fn listed(rows: &[Vec<String>], width: usize) -> String {
    let mut widths = widths(rows);
    while widths.iter().map(|width| width + MARGIN).sum::<usize>() > width {
        let Some(longest) = widths.iter_mut().max() else {
            break;
        };
        if *longest <= LEAST {
            break;
        }
        *longest -= 1;
    }
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            cells.map(|(cell, &width)| cut(cell, width)).collect()
        })
        .collect();
    aligned(&rows)
}

/// The text in so many characters, the last of them a sign if there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// Rows in parts: the first column, and then as many as there is room for.
fn parts(rows: &[Vec<String>], width: usize) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    let mut next = 1;
    while next < widths.len() {
        let mut used = MARGIN + widths[0] + MARGIN + widths[next];
        let first = next;
        next += 1;
        while next < widths.len() && used + MARGIN + widths[next] <= width {
            used += MARGIN + widths[next];
            next += 1;
        }
        let part: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let mut part = vec![row.first().cloned().unwrap_or_default()];
                part.extend(row.iter().take(next).skip(first).cloned());
                part
            })
            .collect();
        text.push_str(&aligned(&part));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(rows: usize, columns: usize) -> Grid {
        let cell = |place: usize| Cell {
            full: format!("{place}/{place} target [44-100 %]"),
            short: format!("{place}t"),
        };
        Grid {
            corner: "workload".to_owned(),
            turned_corner: "arm".to_owned(),
            columns: (0..columns).map(|n| format!("arm-number-{n}")).collect(),
            rows: (0..rows)
                .map(|n| (format!("workload-{n}"), (0..columns).map(cell).collect()))
                .collect(),
            legend: "t target".to_owned(),
        }
    }

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn a_table_is_no_wider_than_there_is_room() {
        for (rows, columns) in [(1, 1), (19, 13), (3, 60), (60, 3), (200, 2)] {
            for width in [40, 80, 120, 200, 400] {
                let text = grid(rows, columns).within(width);
                assert!(
                    widest(&text) <= width,
                    "{rows}x{columns} in {width}:\n{text}"
                );
                // Nothing is left out.
                for row in 0..rows {
                    assert!(text.contains(&format!("workload-{row}")), "{text}");
                }
                for column in 0..columns {
                    assert!(text.contains(&format!("arm-number-{column}")), "{text}");
                }
            }
        }
    }

    #[test]
    fn words_get_shorter_before_a_table_is_cut_in_parts() {
        let two = grid(1, 2);
        assert!(two.within(80).contains("0/0 target [44-100 %]"));
        let thirteen = grid(19, 13);
        let text = thirteen.within(240);
        assert!(
            text.contains("12t") && text.contains("  t target\n"),
            "{text}"
        );
        assert!(!text.contains("A arm-number-0"), "{text}");
        let text = thirteen.within(80);
        assert!(text.contains("A arm-number-0, B arm-number-1,"), "{text}");
        assert_eq!(text.matches("workload-18").count(), 1);
        let text = thirteen.within(40);
        assert!(text.matches("workload-18").count() > 1, "{text}");
    }

    #[test]
    fn a_list_has_its_longest_cells_cut() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["a", "something that is rather long", "x"]),
            row(["abc", "short", "y"]),
        ];
        assert_eq!(
            listed(&rows, 30),
            "  a    something that is r…  x\n  abc  short                 y\n"
        );
        assert_eq!(listed(&rows, 80), aligned(&rows));
        assert_eq!(widest(&listed(&rows, 5)), 2 + 3 + 2 + LEAST + 2 + 1);
    }
}
