//! Known findings that no single job has: lists beside the job, in its
//! repository, and the user's own. They are read with the job, and what they say
//! becomes part of the plan, so that a run records what was known when it began.

use std::path::{Path, PathBuf};

use super::load::{JobError, Text, What};
use crate::detect::Mute;
use crate::library::{Places, is_taken};

/// What a list is called.
const LIST: &str = "known.yaml";

/// Entries of a list. Each has a regular expression.
const MOST: usize = 1000;

/// The findings that are known, the job's own first.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) entries: Vec<Mute>,
    /// Where each of them is written: `FILE:LINE`.
    pub(super) at: Vec<String>,
}

/// The job's own known findings, and those of all lists that are for it.
pub(super) fn known(
    text: &Text,
    own: &[Mute],
    path: &Path,
    places: &Places,
) -> Result<Known, JobError> {
    let mut known = Known::default();
    known.add(text, own, &["known"])?;
    for list in lists(path, places) {
        let text = Text::read_as(&What::KNOWN, from_here(&list))?;
        let entries: Vec<Mute> = if text.is_blank() {
            Vec::new()
        } else {
            text.parse_as()?
        };
        if entries.len() > MOST {
            let message = format!("{} entries are more than {MOST}", entries.len());
            return Err(text.error(&[], message, None));
        }
        known.add(&text, &entries, &[])?;
    }
    Ok(known)
}

impl Known {
    fn add(&mut self, text: &Text, entries: &[Mute], below: &[&str]) -> Result<(), JobError> {
        let places = text.places(below, entries.len());
        for (index, (entry, at)) in entries.iter().zip(places).enumerate() {
            let index = index.to_string();
            let place: Vec<&str> = below.iter().copied().chain([index.as_str()]).collect();
            if let Some((key, problem)) = entry.problem() {
                let message = format!("`{key}`: {problem}");
                let with_key: Vec<&str> = place.iter().copied().chain([key]).collect();
                return Err(text.error_at_first(&[&with_key, &place], message, None));
            }
            self.entries.push(entry.clone());
            self.at.push(at);
        }
        Ok(())
    }
}

/// A path as one would give it here: reports show it to others.
fn from_here(path: &Path) -> &Path {
    let here = std::path::absolute(".").unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}

/// The lists that are for a job: beside it and in the directories above it, up
/// to the repository's top; those of the user. One that comes with kvet, or is
/// the user's own, is for the repository that kvet was started in.
fn lists(job: &Path, places: &Places) -> Vec<PathBuf> {
    let job = std::path::absolute(job).unwrap_or_else(|_| job.to_owned());
    let beside = job.parent().unwrap_or(Path::new("/"));
    let mut directories = vec![beside.to_owned()];
    let start = if places.hold(beside) {
        std::path::absolute(".").unwrap_or_default()
    } else {
        beside.to_owned()
    };
    if let Some(top) = start.ancestors().find(|above| above.join(".git").exists()) {
        let within = start.ancestors().take_while(|above| *above != top);
        directories.extend(within.map(Path::to_owned));
        directories.push(top.to_owned());
    } else {
        directories.push(start.clone());
    }
    let around = directories.iter().map(|directory| directory.join(LIST));
    let around = around.filter(|list| is_taken(list, &start));
    let own = places.user().map(|directory| directory.join(LIST));
    let mut lists: Vec<PathBuf> = Vec::new();
    for list in around.chain(own) {
        // A link to nothing is somebody's mistake and told when it is read.
        if list.symlink_metadata().is_ok() && !lists.contains(&list) {
            lists.push(list);
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    const ENTRY: &str = "- { title: 'WARNING in *', reason: old }\n";

    #[test]
    fn lists_lie_beside_the_job_above_it_in_its_repository_and_with_the_user() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for place in [
            "known.yaml",
            "repo/known.yaml",
            "repo/a/b/known.yaml",
            "user/known.yaml",
        ] {
            write(&at(place), ENTRY);
        }
        write(&at("repo/.git/HEAD"), "");
        let places = Places::new(Some(at("user")), Some(at("shipped")));
        let found = |job: &str| lists(&at(job), &places);
        assert_eq!(
            found("repo/a/b/job.yaml"),
            [
                at("repo/a/b/known.yaml"),
                at("repo/known.yaml"),
                at("user/known.yaml")
            ]
        );
        // Above the repository is somebody else's.
        assert_eq!(
            found("repo/a/job.yaml"),
            [at("repo/known.yaml"), at("user/known.yaml")]
        );
        // Without a repository only what lies beside it is the job's.
        assert_eq!(found("x/job.yaml"), [at("user/known.yaml")]);
        assert_eq!(found("job.yaml"), [at("known.yaml"), at("user/known.yaml")]);
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        write(&job, "known: []\n");
        let list = home.path().join(LIST);
        let said = |text: &str| {
            write(&list, text);
            let job_text = Text::read(&job).unwrap();
            let read = known(&job_text, &[], &job, &Places::default());
            read.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(said(ENTRY), Ok(()));
        assert_eq!(said(""), Ok(()));
        let at = |place: &str| format!("{}:{place}", list.display());
        for (text, place, message) in [
            (
                "- { titel: x, reason: y }\n",
                "1:5: ",
                "unknown field `titel`",
            ),
            (
                "- { title: x, reason: y }\n- { title: x, reason: y, since: six }\n",
                "2:33: ",
                "`since`: `six` is not a kernel version",
            ),
            (
                "- { title: x, reason: y, since: '7.1', until: '6.12' }\n",
                "1:47: ",
                "`until`: 6.12 comes before 7.1",
            ),
            ("- { title: '*', reason: y }\n", "1:12: ", "every finding"),
            ("- { title: x, reason: ' ' }\n", "1:23: ", "says nothing"),
            (
                "- { title: x, reason: y, link: 'see mail' }\n",
                "1:32: ",
                "not a web address",
            ),
            (
                "- { title: x, reason: y, expires: soon }\n",
                "1:",
                "expires: ",
            ),
            ("- { reason: y }\n", "1:", "has none"),
            ("title: x\n", "1:", "expected a sequence"),
        ] {
            let said = said(text).unwrap_err();
            assert!(
                said.starts_with(&at(place)) && said.contains(message),
                "{said}"
            );
        }
        let many = ENTRY.repeat(MOST + 1);
        assert!(said(&many).unwrap_err().contains("more than 1000"));
        std::fs::remove_file(&list).unwrap();
        std::os::unix::fs::symlink("nowhere", &list).unwrap();
        let job_text = Text::read(&job).unwrap();
        let error = known(&job_text, &[], &job, &Places::default()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("cannot read the list of known findings"),
            "{said}"
        );
    }

    #[test]
    fn entries_tell_where_they_are_written() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        write(&job, "name: x\nknown:\n  - { title: a, reason: r }\n");
        write(&home.path().join(LIST), &("# first\n\n".to_owned() + ENTRY));
        let text = Text::read(&job).unwrap();
        let own: Vec<Mute> = serde_yaml::from_str("[{ title: a, reason: r }]").unwrap();
        let known = known(&text, &own, &job, &Places::default()).unwrap();
        let list = home.path().join(LIST);
        assert_eq!(
            known.at,
            [
                format!("{}:3", job.display()),
                format!("{}:3", list.display())
            ]
        );
        assert_eq!(known.entries.len(), 2);
        write(&home.path().join(LIST), &ENTRY.repeat(MOST));
        let known = super::known(&text, &own, &job, &Places::default()).unwrap();
        let end = known.at.last().unwrap();
        assert_eq!(*end, format!("{}:{MOST}", list.display()));
    }

    /// Whoever can write into `/tmp` could mute what a job there shows.
    #[test]
    fn lists_of_a_stranger_above_a_job_are_not_its_own() {
        use std::fs::Permissions;
        use std::os::unix::fs::{PermissionsExt, chown};
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for place in ["known.yaml", "a/known.yaml"] {
            write(&at(place), ENTRY);
        }
        write(&at(".git/HEAD"), "");
        for place in [home.path(), &at("a")] {
            std::fs::set_permissions(place, Permissions::from_mode(0o777)).unwrap();
        }
        let places = Places::default();
        let found = || lists(&at("a/job.yaml"), &places);
        assert_eq!(found(), [at("a/known.yaml"), at("known.yaml")]);
        // Only root can give something away.
        if chown(at("known.yaml"), Some(12345), None).is_err() {
            return;
        }
        assert_eq!(found(), [at("a/known.yaml")]);
        chown(at("a/known.yaml"), Some(12345), None).unwrap();
        assert!(found().is_empty());
    }
}
