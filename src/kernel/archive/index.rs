//! Which mails are of one thread, by the ids in their headers. Pure.

use std::collections::{HashMap, HashSet};

use mailparse::MailHeaderMap;

/// A mail names no more mails that it answers; more are a list of somebody's.
const MOST_PARENTS: usize = 200;

/// The ids in a mail's headers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Its own.
    pub(super) id: String,
    /// Those of mails that it answers, near ones and far.
    pub(super) parents: Vec<String>,
}

impl Head {
    /// Reads the headers with which `mail` begins.
    pub(super) fn parse(mail: &[u8]) -> Option<Self> {
        let (headers, _) = mailparse::parse_headers(mail).ok()?;
        let ids = |name: &str| {
            let value = headers.get_first_value(name).unwrap_or_default();
            ids_in(&value)
        };
        let id = ids("Message-ID").pop()?;
        let mut parents = ids("In-Reply-To");
        parents.extend(ids("References"));
        parents.truncate(MOST_PARENTS);
        Some(Self { id, parents })
    }
}

/// All `<id>`s of a header's value.
fn ids_in(value: &str) -> Vec<String> {
    let ids = value.split('<').skip(1);
    let ids = ids.filter_map(|rest| Some(rest.split_once('>')?.0));
    ids.map(|id| id.split_whitespace().collect()).collect()
}

/// The mails of an archive, by number.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The numbers of the mails that have an id, or answer one that has it.
    by_id: HashMap<String, Vec<usize>>,
    heads: HashMap<usize, Head>,
}

impl Index {
    /// Adds a mail.
    pub(super) fn add(&mut self, number: usize, head: Head) {
        for id in std::iter::once(&head.id).chain(&head.parents) {
            self.by_id.entry(id.clone()).or_default().push(number);
        }
        self.heads.insert(number, head);
    }

    /// Whether the mail of this id is here, and so is the one that began its
    /// thread.
    pub(super) fn has_beginning_of(&self, id: &str) -> bool {
        let mut id = id;
        for _ in 0..self.heads.len() {
            let Some(head) = self.mail(id) else {
                return false;
            };
            match head.parents.first() {
                Some(parent) => id = parent,
                None => return true,
            }
        }
        false
    }

    fn mail(&self, id: &str) -> Option<&Head> {
        let numbers = self.by_id.get(id)?;
        let mut heads = numbers.iter().filter_map(|number| self.heads.get(number));
        heads.find(|head| head.id == id)
    }

    /// The mails of the thread of this id, by number, in order; none if it is
    /// not here. A mail that was sent to two lists is there once.
    pub(super) fn thread(&self, id: &str) -> Vec<usize> {
        if self.mail(id).is_none() {
            return Vec::new();
        }
        let mut seen = HashSet::from([id]);
        let mut open = vec![id];
        let mut numbers = HashMap::new();
        while let Some(id) = open.pop() {
            for number in self.by_id.get(id).into_iter().flatten() {
                let Some(head) = self.heads.get(number) else {
                    continue;
                };
                let first = numbers.entry(head.id.as_str()).or_insert(*number);
                *first = (*first).min(*number);
                for id in std::iter::once(&head.id).chain(&head.parents) {
                    if seen.insert(id) {
                        open.push(id);
                    }
                }
            }
        }
        let mut numbers: Vec<usize> = numbers.into_values().collect();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(id: &str, parents: &[&str]) -> Head {
        Head {
            id: id.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
        }
    }

    #[test]
    fn a_thread_holds_together_over_mails_that_are_missing() {
        let mut index = Index::default();
        for (number, head) in [
            head("reply", &["patch", "cover"]),
            head("other", &["elsewhere"]),
            head("patch", &["cover"]),
            head("second", &["cover"]),
            head("second", &["cover"]),
        ]
        .into_iter()
        .enumerate()
        {
            index.add(number, head);
        }
        // The cover letter is not in the archive; one mail is there twice.
        for id in ["reply", "patch", "second"] {
            assert_eq!(index.thread(id), [0, 2, 3], "{id}");
        }
        assert_eq!(index.thread("other"), [1]);
        assert!(index.thread("cover").is_empty());
        assert!(!index.has_beginning_of("reply"));
        index.add(5, head("cover", &[]));
        assert!(index.has_beginning_of("reply"));
        assert_eq!(index.thread("cover"), [0, 2, 3, 5]);
    }

    #[test]
    fn ids_are_read_from_folded_headers() {
        let mail = b"Subject: x\nmessage-id: <a@b>\nIn-Reply-To: Your mail <c@d>\n\
                     References: <e@f>\n <c@d>\n\nMessage-ID: <not@this>\n";
        let head = Head::parse(mail).unwrap();
        assert_eq!(head.id, "a@b");
        assert_eq!(head.parents, ["c@d", "e@f", "c@d"]);
        assert_eq!(Head::parse(b"no mail\n"), None);
    }
}
