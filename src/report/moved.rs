//! What is told of a table of counters: in how many rows something moved, and
//! which rows were never reached.

use super::model::Coverage;

/// A row that was not reached.
pub(super) struct Missed<'a> {
    /// Such as `never`, or `never deferred` if another column moved.
    pub(super) how: String,
    /// The row.
    pub(super) row: &'a str,
}

/// A sentence on an arm's table, and the rows that were not reached. A row is
/// reached if the column that the job names moved; if it names none, or the table
/// has no such column, if any did.
pub(super) fn told(coverage: &Coverage) -> (String, Vec<Missed<'_>>) {
    let Coverage {
        arm,
        table,
        moved,
        still,
        reached,
        columns,
    } = coverage;
    let all = moved.len() + still.len();
    let named = reached.as_ref();
    let counts = named.and_then(|name| columns.iter().find(|column| column.name == *name));
    let mut sentence = match counts {
        Some(column) => {
            let (name, moved) = (&column.name, column.moved);
            format!("{table} in {arm}: {moved} of {all} reached ({name})")
        }
        None => format!("{table} in {arm}: {} of {all} moved", moved.len()),
    };
    let each = columns.iter();
    let each: Vec<String> = each
        .map(|column| format!("{} {}", column.name, column.moved))
        .collect();
    if !each.is_empty() {
        sentence.push_str("; ");
        sentence.push_str(&each.join(", "));
    }
    if let (Some(name), None) = (named, counts) {
        sentence.push_str("; it has no column ");
        sentence.push_str(name);
    }
    let missed = counts.map_or(still, |column| &column.still);
    let missed = missed.iter().map(|row| Missed {
        how: match counts {
            Some(column) if moved.contains(row) => format!("never {}", column.name),
            _ => "never".to_owned(),
        },
        row,
    });
    (sentence, missed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::ColumnCoverage;

    fn sites() -> Coverage {
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect();
        let column = |name: &str, moved, still: &[&str]| ColumnCoverage {
            name: name.to_owned(),
            moved,
            still: rows(still),
        };
        Coverage {
            arm: "fixed".to_owned(),
            table: "sites".to_owned(),
            moved: rows(&["a", "b"]),
            still: rows(&["c"]),
            reached: Some("deferred".to_owned()),
            columns: vec![
                column("deferred", 1, &["b", "c"]),
                column("direct", 2, &["c"]),
            ],
        }
    }

    fn lines(coverage: &Coverage) -> Vec<String> {
        let (sentence, missed) = told(coverage);
        let missed = missed
            .iter()
            .map(|Missed { how, row }| format!("{how}: {row}"));
        std::iter::once(sentence).chain(missed).collect()
    }

    #[test]
    fn a_row_is_reached_by_the_column_that_the_job_names() {
        assert_eq!(
            lines(&sites()),
            [
                "sites in fixed: 1 of 3 reached (deferred); deferred 1, direct 2",
                "never deferred: b",
                "never: c"
            ]
        );
    }

    #[test]
    fn without_such_a_column_any_does_and_a_wrong_one_is_told() {
        let mut sites = sites();
        sites.reached = None;
        let expected = "sites in fixed: 2 of 3 moved; deferred 1, direct 2";
        assert_eq!(lines(&sites), [expected, "never: c"]);
        sites.reached = Some("defered".to_owned());
        let expected = format!("{expected}; it has no column defered");
        assert_eq!(lines(&sites), [&expected, "never: c"]);
    }

    #[test]
    fn a_report_without_columns_is_told_as_it_was() {
        let earlier = r#"{ "arm": "fixed", "table": "sites", "moved": ["a"], "still": ["b"] }"#;
        let earlier: Coverage = serde_json::from_str(earlier).unwrap();
        assert_eq!(
            lines(&earlier),
            ["sites in fixed: 1 of 2 moved", "never: b"]
        );
    }
}
