//! What a job looks for among the findings: its target, and what it mutes.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::signature::canonical;
use super::{Class, Finding};

/// The finding that a job is about. What is left out matches everything.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The class.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<Class>,
    /// Functions that the stack holds in this order from the innermost
    /// outwards, with others in between. `__` in front and suffixes such as
    /// `.isra.0` are ignored on both sides.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub frames: Vec<String>,
    /// The title, or an alternative of it: a pattern in which `*` stands for
    /// anything, or a regular expression between slashes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<Pattern>,
    /// The signature, as a pattern like the title's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature: Option<Pattern>,
}

impl Target {
    /// Whether the finding is the one.
    #[must_use]
    pub fn matches(&self, finding: &Finding) -> bool {
        self.class.is_none_or(|class| class == finding.class)
            && self.title.as_ref().is_none_or(|title| {
                title.matches(&finding.title)
                    || finding
                        .alternatives
                        .iter()
                        .any(|other| title.matches(other))
            })
            && self
                .signature
                .as_ref()
                .is_none_or(|signature| signature.matches(&finding.signature))
            && self.frames_match(finding)
    }

    /// Whether it names one bug, and not only a class of them.
    #[must_use]
    pub fn is_specific(&self) -> bool {
        !self.frames.is_empty() || self.title.is_some() || self.signature.is_some()
    }

    fn frames_match(&self, finding: &Finding) -> bool {
        let mut wanted = self.frames.iter().map(|name| canonical(name)).peekable();
        for frame in finding.frames.iter().filter(|frame| frame.reliable) {
            if wanted.peek() == Some(&canonical(&frame.function)) {
                wanted.next();
            }
        }
        wanted.peek().is_none()
    }
}

/// A pattern for titles and signatures: `*` stands for anything, `/…/` is a
/// regular expression.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// A pattern that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid pattern: {problem}")]
pub struct BadPattern {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Pattern {
    /// Whether the text is of the pattern, as a whole for `*` patterns.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let inner = text
            .strip_prefix('/')
            .and_then(|inner| inner.strip_suffix('/'));
        let pattern = inner.map_or_else(
            || {
                let parts: Vec<String> = text.split('*').map(regex::escape).collect();
                format!("^{}$", parts.join(".*"))
            },
            str::to_owned,
        );
        match Regex::new(&pattern) {
            Ok(regex) => Ok(Self { text, regex }),
            Err(error) => Err(BadPattern {
                text,
                problem: error.to_string(),
            }),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

/// A known finding that a job does not count.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "WrittenMute", into = "WrittenMute")]
pub struct Mute {
    /// Which findings.
    pub what: Muted,
    /// Why they may be passed over.
    pub reason: String,
    /// The first kernel version it applies to, such as `6.12`.
    pub since: Option<String>,
    /// The last one.
    pub until: Option<String>,
    /// The day (`2027-01-31`) after which it applies no more.
    pub expires: Option<jiff::civil::Date>,
    /// Where one can read more about it.
    pub link: Option<String>,
}

/// How a mute names its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Muted {
    /// By title.
    Title(Pattern),
    /// By signature.
    Signature(Pattern),
}

/// A mute that names its findings in no way, or in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMute {
    /// It has neither key.
    #[error("a known finding has a `title` or a `signature`, and this has none")]
    Neither,
    /// It has both.
    #[error("a known finding has a `title` or a `signature`, not both")]
    Both,
}

/// A mute as jobs have it: a flat map, in which an unknown key is an error.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transform = crate::schema::one_way_to_name))]
#[serde(deny_unknown_fields)]
struct WrittenMute {
    /// The title, as a pattern like a target's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    title: Option<Pattern>,
    /// Or the signature, in the same way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    signature: Option<Pattern>,
    /// Why they may be passed over.
    reason: String,
    /// The first kernel version it applies to, such as `6.12`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    since: Option<String>,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    until: Option<String>,
    /// The day (`2027-01-31`) after which it applies no more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    expires: Option<jiff::civil::Date>,
    /// Where there is more about it, such as a mail: an http address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    link: Option<String>,
}

impl TryFrom<WrittenMute> for Mute {
    type Error = BadMute;

    fn try_from(written: WrittenMute) -> Result<Self, Self::Error> {
        let what = match (written.title, written.signature) {
            (Some(title), None) => Muted::Title(title),
            (None, Some(signature)) => Muted::Signature(signature),
            (None, None) => return Err(BadMute::Neither),
            (Some(_), Some(_)) => return Err(BadMute::Both),
        };
        Ok(Self {
            what,
            reason: written.reason,
            since: written.since,
            until: written.until,
            expires: written.expires,
            link: written.link,
        })
    }
}

impl From<Mute> for WrittenMute {
    fn from(mute: Mute) -> Self {
        let (title, signature) = match mute.what {
            Muted::Title(title) => (Some(title), None),
            Muted::Signature(signature) => (None, Some(signature)),
        };
        Self {
            title,
            signature,
            reason: mute.reason,
            since: mute.since,
            until: mute.until,
            expires: mute.expires,
            link: mute.link,
        }
    }
}

impl Mute {
    /// Whether the finding, of a kernel of this version, is passed over today.
    #[must_use]
    pub fn covers(&self, finding: &Finding, kernel: &str, today: jiff::civil::Date) -> bool {
        self.names(&finding.title, &finding.signature)
            && !self.is_expired(today)
            && self.is_for(kernel)
    }

    /// Whether a finding of this title and signature is meant.
    #[must_use]
    pub fn names(&self, title: &str, signature: &str) -> bool {
        match &self.what {
            Muted::Title(pattern) => pattern.matches(title),
            Muted::Signature(pattern) => pattern.matches(signature),
        }
    }

    /// Whether it applies no more.
    #[must_use]
    pub fn is_expired(&self, today: jiff::civil::Date) -> bool {
        self.expires.is_some_and(|expires| today > expires)
    }

    /// Whether kernels of this version are meant.
    #[must_use]
    pub fn is_for(&self, kernel: &str) -> bool {
        let kernel = version(kernel);
        self.since
            .as_deref()
            .is_none_or(|since| kernel >= version(since))
            && self.until.as_deref().is_none_or(|until| {
                // `6.12` as a last version takes in 6.12.117.
                let until = version(until);
                kernel.iter().take(until.len()).le(until.iter())
            })
    }

    /// What is wrong with it, if anything is: the key, and how.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let (key, pattern) = match &self.what {
            Muted::Title(pattern) => ("title", pattern),
            Muted::Signature(pattern) => ("signature", pattern),
        };
        if pattern.matches("") {
            return Some((key, "it would be every finding".to_owned()));
        }
        if self.reason.trim().is_empty() {
            return Some(("reason", "it says nothing".to_owned()));
        }
        for (key, text) in [("since", &self.since), ("until", &self.until)] {
            let Some(text) = text else { continue };
            if let Err(error) = text.parse::<crate::version::KernelVersion>() {
                return Some((key, error.to_string()));
            }
        }
        if let (Some(since), Some(until)) = (&self.since, &self.until)
            && !self.is_for(since)
        {
            return Some(("until", format!("{until} comes before {since}")));
        }
        let is_address = |link: &String| {
            let plain = link.chars().all(|c| !c.is_whitespace() && !c.is_control());
            plain && (link.starts_with("https://") || link.starts_with("http://"))
        };
        if self.link.as_ref().is_some_and(|link| !is_address(link)) {
            let message = "not a web address (https://...)".to_owned();
            return Some(("link", message));
        }
        None
    }
}

/// The place among `known` of what makes a finding a known one, for kernels of
/// this release on this day. A target that names one bug is not known: it is
/// what the job asks about.
#[must_use]
pub fn known_as(
    finding: &Finding,
    known: &[Mute],
    target: Option<&Target>,
    release: &str,
    day: jiff::civil::Date,
) -> Option<usize> {
    if target.is_some_and(|target| target.is_specific() && target.matches(finding)) {
        return None;
    }
    known
        .iter()
        .position(|mute| mute.covers(finding, release, day))
}

impl Muted {
    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Title(pattern) | Self::Signature(pattern) => &pattern.text,
        }
    }
}

/// The numbers at the beginning of a release: `6.12.117-1` is 6, 12, 117.
fn version(release: &str) -> Vec<u32> {
    let end = release
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(release.len());
    release[..end]
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

/// A rule that a job adds: a message of its own that is a finding.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtraRule {
    /// The message, as a pattern like a title's.
    pub message: Pattern,
    /// The class of such findings; `other` if left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<Class>,
    /// The title; the message itself if left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::finding::Frame;

    fn finding(names: &[&str]) -> Finding {
        Finding {
            class: Class::HungTask,
            title: "INFO: task hung in evict".to_owned(),
            alternatives: vec!["hang in evict".to_owned()],
            signature: "hung_task:inode_wait_for_writeback<evict<ceph_writepages_start".to_owned(),
            damaged: false,
            first_line: 1,
            last_line: 2,
            frames: names
                .iter()
                .map(|name| Frame {
                    function: (*name).to_owned(),
                    reliable: !name.starts_with('?'),
                    ..Frame::default()
                })
                .collect(),
            task: None,
            pid: None,
            cpu: None,
            time: None,
            clock: None,
            workqueue: None,
            tainted: None,
            kernel: None,
            instruction: None,
            locks: Vec::new(),
            waits_for: Vec::new(),
            panic: None,
        }
    }

    fn target(yaml: &str) -> Target {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn frames_match_in_order_through_variants() {
        let stack = finding(&[
            "schedule",
            "__inode_wait_for_writeback",
            "evict",
            "ceph_writepages_start.isra.0",
        ]);
        let wanted =
            target("{class: hung_task, frames: [inode_wait_for_writeback, ceph_writepages_start]}");
        assert!(wanted.matches(&stack));
        let reversed = target("{frames: [ceph_writepages_start, inode_wait_for_writeback]}");
        assert!(!reversed.matches(&stack));
        assert!(!target("{class: warning}").matches(&stack));
        assert!(target("{}").matches(&stack));
        assert!(!target("{frames: [evict]}").matches(&finding(&["?evict"])));
    }

    #[test]
    fn titles_match_by_star_and_by_expression() {
        let stack = finding(&[]);
        assert!(target("{title: 'INFO: task hung in *'}").matches(&stack));
        assert!(target("{title: 'hang in evict'}").matches(&stack));
        assert!(target("{title: '/hung in (evict|iput)$/'}").matches(&stack));
        assert!(!target("{title: 'task hung in *'}").matches(&stack));
        assert!(target("{signature: 'hung_task:*<ceph_*'}").matches(&stack));
        assert!(serde_yaml::from_str::<Target>("{title: '/(/'}").is_err());
        assert!(serde_yaml::from_str::<Target>("{titel: x}").is_err());
    }

    #[test]
    fn mutes_have_a_range_and_an_end() {
        let mute: Mute = serde_yaml::from_str(
            "{title: 'INFO: task hung in *', reason: known, since: '6.12', until: '7.3', expires: 2027-01-31}",
        )
        .unwrap();
        let stack = finding(&[]);
        let day = jiff::civil::date(2027, 1, 31);
        assert!(mute.covers(&stack, "6.12.117", day));
        assert!(mute.covers(&stack, "7.3.4", day));
        assert!(!mute.covers(&stack, "6.1.192", day));
        assert!(!mute.covers(&stack, "7.4", day));
        assert!(!mute.covers(&stack, "7.3.4", jiff::civil::date(2027, 2, 1)));
    }

    #[test]
    fn mutes_name_their_findings_in_one_way_and_have_no_other_keys() {
        let problem = |yaml: &str| serde_yaml::from_str::<Mute>(yaml).unwrap_err().to_string();
        assert!(problem("{title: a, reason: r, expire: 2027-01-31}").contains("`expire`"));
        assert!(problem("{title: a, signature: b, reason: r}").contains("not both"));
        assert!(problem("{reason: r}").contains("has none"));
        assert!(problem("{title: a}").contains("`reason`"));
    }

    #[test]
    fn mutes_are_written_as_they_are_read() {
        for yaml in [
            "title: INFO*\nreason: r\nexpires: 2027-01-31\n",
            "signature: 'hung_task:*'\nreason: r\nsince: '6.12'\nuntil: '7.3'\n",
        ] {
            let mute: Mute = serde_yaml::from_str(yaml).unwrap();
            let written = serde_yaml::to_string(&mute).unwrap();
            assert_eq!(serde_yaml::from_str::<Mute>(&written).unwrap(), mute);
            assert!(!written.contains("null"), "{written}");
        }
    }
}
