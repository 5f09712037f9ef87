use super::*;
use crate::coverage::executed::{Executed, ExecutedBy, ExecutedFile, ExecutedLine};
use crate::record::{ConsoleLine, Entry, Excerpt, Line, Side};
use crate::report::fixture;

fn story(text: &str) -> Story {
    let began = Entry::StepBegan {
        step: 0,
        label: text.to_owned(),
        side: Side::Guest,
        background: false,
        limit: Some(1.0),
    };
    let found = Entry::Finding {
        class: crate::detect::Class::HungTask,
        title: text.to_owned(),
        line: 3,
    };
    let line = |(number, text): (u64, &str)| ConsoleLine {
        number,
        text: text.to_owned(),
        cut: false,
    };
    Story {
        journal: vec![
            Line {
                at: 1.0,
                entry: began,
            },
            Line {
                at: 2.0,
                entry: found,
            },
        ],
        console: Excerpt {
            lines: [(1, "first"), (3, text), (9, "last")].map(line).into(),
            all: 12,
            asked: Some(9),
        },
    }
}

fn page(report: &Report, text: &str) -> String {
    let (ids, _) = wanted(report);
    html(
        report,
        &ids.into_iter().map(|id| (id, story(text))).collect(),
    )
}

#[test]
fn nothing_of_a_guest_s_is_markup() {
    let evil =
        "</code></script><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\x1b[2J";
    let text = page(&fixture::hostile(), evil);
    // Its own script, and no other element that came from outside.
    assert_eq!(text.matches("<script").count(), 1);
    assert!(!text.contains("<img"));
    assert!(!text.contains(['\u{202e}', '\x1b']));
    assert!(text.contains("&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩␛[2J"));
}

#[test]
fn rows_that_were_not_reached_are_listed() {
    let text = page(&fixture::report(), "text");
    let expected = "<summary>sites in fixed: 0 of 2 reached (deferred); deferred 0, direct 1\
                    </summary>\n<ul>\n<li>never deferred: <code>a</code></li>\n\
                    <li>never: <code>b</code></li>\n</ul>";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_page_reaches_for_nothing() {
    let text = page(&fixture::report(), "text");
    for reach in ["http://", "https://", "src=", "@import", "url(", " style="] {
        assert!(!text.contains(reach), "{reach}");
    }
    assert!(text.contains("default-src 'none'"));
}

#[test]
fn lines_have_names_findings_marks_and_gaps_numbers() {
    let text = page(&fixture::report(), "hung");
    for wanted in [
        "<li class=\"mark\">INFO: task hung in evict</li>",
        "<li class=\"hit\" id=\"t1L3\"><a tabindex=\"-1\" href=\"#t1L3\">3</a><code>hung</code>",
        "<li class=\"gap\">5 lines left out; console.log has all</li>",
        "<li class=\"gap\">from here on kvet had the kernel print all stacks</li>",
        "<li class=\"gap\">3 lines left out; console.log has all</li>",
        "hung began at 1.0 s and did not end",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    // Every link has its end.
    let ids: Vec<&str> = text
        .split(" id=\"")
        .skip(1)
        .filter_map(|t| t.split('"').next())
        .collect();
    for link in text
        .split("href=\"#")
        .skip(1)
        .filter_map(|t| t.split('"').next())
    {
        assert!(ids.contains(&link), "{link}");
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn what_is_shown_in_full_is_bounded_and_what_matters_comes_first() {
    let mut report = fixture::large();
    report.arms[1].trials[1999].judged.outcome = Outcome::Target;
    for trial in &mut report.arms[1].trials[..1990] {
        trial.judged.outcome = Outcome::Clean;
    }
    let (ids, lines) = wanted(&report);
    assert_eq!(ids.len(), STORIES);
    assert!(ids[..10].iter().any(|id| id.number == 2000));
    assert!(ids.len() * lines <= LINES);
    let long = "<".repeat(800);
    assert!(page(&report, &long).len() < LIMIT + (8 << 20));
}

#[test]
fn many_workloads_have_a_row_each_and_arms_a_column() {
    let mut report = fixture::report();
    for arm in &mut report.arms {
        arm.workloads = ["a", "b", "c"].map(str::to_owned).into();
        for (trial, workload) in arm.trials.iter_mut().zip(["a", "b", "c"]) {
            workload.clone_into(&mut trial.workload);
        }
    }
    let text = page(&report, "text");
    assert!(text.contains("<table class=\"grid matrix\">"));
    for workload in ["a", "b", "c"] {
        let row = format!("<tr><th scope=\"row\">{workload}</th><td class=\"chips\"><a ");
        assert!(text.contains(&row), "{row}");
    }
    let few = page(&fixture::report(), "text");
    assert!(few.contains("<table class=\"grid\">"));
    assert!(few.contains("Each mark is a trial of example and leads to it"));
}

#[test]
fn changed_lines_that_no_trial_ran_stand_out() {
    let mut report = fixture::report();
    let line = |line, run_by: &[&str]| ExecutedLine {
        line,
        patch: 0,
        text: format!("\tcall({line}, \"<b>\");"),
        run_by: run_by.iter().map(|by| (*by).to_owned()).collect(),
    };
    report.arms[1].executed = Some(Executed {
        arm: "fixed".to_owned(),
        patches: vec!["0001-iput.patch".to_owned()],
        lines: 2,
        run: 1,
        workloads: vec![ExecutedBy {
            workload: "example".to_owned(),
            trials: 3,
            counted: 2,
            run: 1,
        }],
        files: vec![
            ExecutedFile {
                file: "fs/ceph/caps.c".to_owned(),
                counted: true,
                lines: vec![line(7, &["example"]), line(8, &[])],
            },
            ExecutedFile {
                file: "include/x.h".to_owned(),
                counted: false,
                lines: Vec::new(),
            },
        ],
        problems: vec!["fs/g: ENOENT".to_owned()],
    });
    let text = page(&report, "text");
    for wanted in [
        "<h3>fixed: 1 of 2 changed lines of code were run</h3>",
        "<li>example: 1 lines, known of 2 of 3 trials</li>",
        "<li>not known: fs/g: ENOENT</li>",
        "<details open>\n<summary><code>fs/ceph/caps.c</code>: 1 of 2 changed lines were run",
        "<tr class=\"never\"><td class=\"number\">8</td><td>never</td>\
         <td><code>call(8, &quot;&lt;b&gt;&quot;);</code></td>",
        "changed by 0001-iput.patch",
        "</code></td><td>example</td>",
        "include/x.h</code>: not counted",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
}

#[test]
fn of_trials_without_a_number_none_did_not_run() {
    let mut report = fixture::report();
    report.arms[1].trials.clear();
    let lacking = |report: &Report| {
        let text = page(report, "text");
        let at = text.find("did not run").or(text.find("no trial ran"))?;
        let (before, after) = text.split_at(at);
        let (before, after) = (before.rsplit('>').next()?, after.split('<').next()?);
        Some(format!("{before}{after}"))
    };
    assert_eq!(lacking(&report).unwrap(), "3 of 3 trials did not run");
    report.verdict.rules.until = Some(95);
    assert_eq!(lacking(&report).unwrap(), "no trial ran");
}
