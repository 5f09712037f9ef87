//! Where in a file a hunk that does not apply would come nearest to applying:
//! what the author of a patch looks for next.

use std::fmt;

/// No more comparisons of lines than this: a file and a hunk may be anything.
const MOST_COMPARISONS: usize = 50_000_000;

/// The lines of a hunk before and after the change, without their marks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HunkLines {
    /// The line, from 1, at which the hunk says it starts.
    pub(super) start: usize,
    /// The lines that must be there.
    pub(super) old: Vec<String>,
    /// The lines that are to be there.
    pub(super) new: Vec<String>,
}

/// How a file comes near to a hunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nearest {
    /// The file has what the hunk would make, from this line.
    Done(usize),
    /// Most of the lines are there.
    Close {
        /// The first of them, from 1.
        line: usize,
        /// So many are the same.
        same: usize,
        /// Of so many.
        of: usize,
        /// The first line that differs: its number, what the file has there, and
        /// what the patch wants.
        differs: (usize, String, String),
    },
}

/// The place of the file nearest to the hunk; `None` if less than half of it is
/// anywhere.
pub(super) fn nearest(file: &str, hunk: &HunkLines) -> Option<Nearest> {
    let lines: Vec<&str> = file.lines().collect();
    let far = |line: usize| line.abs_diff(hunk.start);
    if hunk.new != hunk.old
        && let Some((line, same)) = best(&lines, &hunk.new, far)
        && same == hunk.new.len()
    {
        return Some(Nearest::Done(line));
    }
    let (line, same) = best(&lines, &hunk.old, far)?;
    let here = lines[line - 1..].iter();
    let (index, (has, wants)) = here
        .zip(&hunk.old)
        .enumerate()
        .find(|(_, (has, wants))| has.trim_end() != wants.trim_end())?;
    (same * 2 >= hunk.old.len()).then(|| Nearest::Close {
        line,
        same,
        of: hunk.old.len(),
        differs: (line + index, (*has).to_owned(), wants.clone()),
    })
}

/// The line, from 1, from which most of the wanted lines are in the file, and
/// how many are; of equal ones that which is least far.
fn best(lines: &[&str], wanted: &[String], far: impl Fn(usize) -> usize) -> Option<(usize, usize)> {
    let work = lines.len().saturating_mul(wanted.len());
    if wanted.is_empty() || work > MOST_COMPARISONS {
        return None;
    }
    let same = |at: usize| {
        let pairs = lines[at..].iter().zip(wanted);
        pairs
            .filter(|(has, wants)| has.trim_end() == wants.trim_end())
            .count()
    };
    (0..lines.len())
        .map(|at| (at + 1, same(at)))
        .max_by_key(|&(line, same)| (same, std::cmp::Reverse(far(line))))
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(line) => write!(
                f,
                "the file has what this hunk would make, from line {line}: a part of the patch is in already"
            ),
            Self::Close {
                line,
                same,
                of,
                differs: (at, has, wants),
            } => write!(
                f,
                "the nearest place is line {line}, where {same} of {of} lines are the same; line {at} is\n    {has}\nand the patch wants\n    {wants}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(start: usize, old: &[&str], new: &[&str]) -> HunkLines {
        let owned = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        HunkLines {
            start,
            old: owned(old),
            new: owned(new),
        }
    }

    const FILE: &str = "a\nb\nc\nd\ne\nx\ny\nb\nc\nd2\ne\n";

    #[test]
    fn the_place_with_most_lines_in_common_is_told_with_what_differs() {
        let wanted = hunk(9, &["b", "c", "d3", "e"], &["b", "c", "q", "e"]);
        let Some(Nearest::Close {
            line,
            same,
            of,
            differs,
        }) = nearest(FILE, &wanted)
        else {
            panic!("nothing near");
        };
        // Both places have three of four; the second is where the hunk says.
        assert_eq!((line, same, of), (8, 3, 4));
        assert_eq!(differs, (10, "d2".to_owned(), "d3".to_owned()));
    }

    #[test]
    fn a_hunk_that_is_in_already_is_told() {
        let wanted = hunk(2, &["b", "c", "d", "f"], &["b", "c", "d2", "e"]);
        assert_eq!(nearest(FILE, &wanted), Some(Nearest::Done(8)));
    }

    #[test]
    fn what_is_nowhere_has_no_nearest_place() {
        let wanted = hunk(2, &["p", "q", "r", "e"], &["p"]);
        assert_eq!(nearest(FILE, &wanted), None);
    }
}
