//! The verdict as a check of patchwork's REST interface: the body of a POST to
//! `/api/patches/ID/checks/`. What says nothing of the patch is a warning.

use serde_json::{Value, json};

use super::model::Report;
use super::safe::{cut, identifier, plain};
use crate::error::Exit;

/// Characters of a description that a list of checks still shows.
const DESCRIPTION: usize = 200;

/// The check.
#[must_use]
pub fn patchwork(report: &Report) -> Value {
    let verdict = &report.verdict;
    let state = match verdict.kind.exit() {
        Exit::Good => "success",
        Exit::Bad => "fail",
        _ => "warning",
    };
    let why = verdict.reasons.join("; ");
    let description = plain(&format!("{}: {why}", verdict.kind.name()));
    json!({
        "state": state,
        "context": format!("kvet-{}", identifier(&report.job)),
        "description": cut(&description, DESCRIPTION),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_check_has_patchwork_s_words() {
        let check = patchwork(&fixture::report());
        assert_eq!(check["state"], "success");
        assert_eq!(check["context"], "kvet-example");
        let mut hostile = fixture::hostile();
        hostile.job = "a job/with <words>".to_owned();
        let check = patchwork(&hostile);
        assert_eq!(check["state"], "fail");
        let context = regex::Regex::new("^[-a-zA-Z0-9_]+$").unwrap();
        assert!(context.is_match(check["context"].as_str().unwrap()));
        assert!(check["description"].as_str().unwrap().chars().count() <= DESCRIPTION);
    }
}
