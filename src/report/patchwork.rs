//! The verdict as a check of patchwork's REST interface: the body of a POST to
//! `/api/patches/ID/checks/`. What says nothing of the patch is a warning. Known
//! findings fail nothing; they are named, so that nobody takes them for new.

use serde_json::{Value, json};

use super::model::Report;
use super::safe::{cut, identifier, plain};
use crate::error::Exit;

/// Characters of a description that a list of checks still shows.
const DESCRIPTION: usize = 200;

/// The most characters that patchwork takes for an address.
const ADDRESS: usize = 200;

/// The check; `link` is where a reader finds more, if it can be a link.
#[must_use]
pub fn patchwork(report: &Report, link: Option<&str>) -> Value {
    let verdict = &report.verdict;
    let state = match verdict.kind.exit() {
        Exit::Good => "success",
        Exit::Bad => "fail",
        _ => "warning",
    };
    let known = known(report);
    let why = verdict.reasons.join("; ");
    let why = plain(&format!("{}: {why}", verdict.kind.name()));
    // What is known must not be what is cut off.
    let left = DESCRIPTION - known.chars().count();
    let mut check = json!({
        "state": state,
        "context": format!("kvet-{}", identifier(&report.job)),
        "description": cut(&why, left) + &known,
    });
    let is_link = |link: &&str| {
        let web = link.starts_with("https://") || link.starts_with("http://");
        web && link.len() <= ADDRESS && link.chars().all(|c| c.is_ascii_graphic())
    };
    if let Some(link) = link.filter(is_link) {
        check["target_url"] = json!(link);
    }
    check
}

/// ` (known, not counted: TITLE and 2 more)`; nothing if nothing known was seen.
fn known(report: &Report) -> String {
    let seen = report.known.iter().filter(|known| !known.expired);
    let mut titles: Vec<&str> = seen
        .flat_map(|known| &known.seen)
        .flat_map(|seen| &seen.titles)
        .map(String::as_str)
        .collect();
    titles.sort_unstable();
    titles.dedup();
    let Some(first) = titles.first() else {
        return String::new();
    };
    let more = match titles.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        " (known, not counted: {}{more})",
        cut(&plain(first), DESCRIPTION / 2 - 50)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_check_has_patchwork_s_words() {
        let link = "https://ci.example/7";
        let check = patchwork(&fixture::report(), Some(link));
        assert_eq!(check["target_url"], link);
        for no_link in ["javascript:x", "https://a b", &"https://".repeat(30)] {
            let check = patchwork(&fixture::report(), Some(no_link));
            assert!(check.get("target_url").is_none(), "{no_link}");
        }
        assert_eq!(check["state"], "success");
        assert_eq!(check["context"], "kvet-example");
        let mut known = fixture::report();
        known.verdict.reasons = vec!["a long reason ".repeat(30)];
        for titles in [
            &["WARNING in f", "INFO: g"][..],
            &["x".repeat(900).as_str()],
        ] {
            known.known = vec![fixture::seen_before(titles)];
            let check = patchwork(&known, None);
            let text = check["description"].as_str().unwrap();
            assert!(text.chars().count() <= DESCRIPTION, "{text}");
            assert!(text.contains("\u{2026} (known, not counted: "), "{text}");
            assert!(text.ends_with(')'), "{text}");
        }
        let mut hostile = fixture::hostile();
        hostile.job = "a job/with <words>".to_owned();
        let check = patchwork(&hostile, None);
        assert_eq!(check["state"], "fail");
        let context = regex::Regex::new("^[-a-zA-Z0-9_]+$").unwrap();
        assert!(context.is_match(check["context"].as_str().unwrap()));
        assert!(check["description"].as_str().unwrap().chars().count() <= DESCRIPTION);
    }
}
