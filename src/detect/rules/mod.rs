//! The table of what is a finding: one row a message, with its class, its title
//! and an example. Everything that detection knows of the kernel's wording is
//! in the tables of this directory; the code around them knows only shapes.
//!
//! To add a message: add a row with its example and lookalikes. A row whose
//! pattern does not match its own example fails the tests.

mod families;
mod generic;
mod hangs;
mod locking;
mod memory;
mod oopses;
pub(super) mod refine;
pub(super) mod skip;
mod warnings;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Captures, Regex};

use super::Class;

/// How the function in a title is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The title names none.
    None,
    /// The innermost function of the stack that is not a helper.
    Stack,
    /// The instruction pointer, then the stack.
    Fault,
    /// The place where the lock was taken that the validator complains of, or
    /// where the held ones were; then the stack.
    Lock,
    /// The innermost function outside locking, then the place of the lock.
    LockStack,
    /// The place where a lock was taken that is still held.
    Held,
    /// The outermost function that still tells what was going on: stalls are
    /// found wherever the timer happens to hit.
    Outermost,
    /// The function that sleeps: the innermost outside waiting.
    Waiting,
    /// The function that allocated: the innermost outside allocation.
    Allocating,
    /// The function that allocated the page, if that was kept.
    PageOwner,
    /// The first line names it (group `function`).
    Named,
    /// A later line names it: `last function: F`.
    LastFunction,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Rule {
    /// A name for tests and messages.
    pub(super) name: &'static str,
    /// A text that every line of this kind holds; lines without any of the
    /// table's texts are never looked at.
    pub(super) literal: &'static str,
    /// What the message looks like from its beginning.
    pub(super) pattern: &'static str,
    /// The class of such findings.
    pub(super) class: Class,
    /// The title: `{F}` is the function, `{A}` Read or Write, `{1}` a group of
    /// the pattern.
    pub(super) title: &'static str,
    /// Another accepted title, or nothing.
    pub(super) alternative: &'static str,
    /// Where `{F}` comes from.
    pub(super) function: Choice,
    /// Whether a report without a stack is damaged.
    pub(super) stack: bool,
    /// What the message may do to a report that is already open.
    pub(super) role: Role,
    /// Messages of this kind.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests prove each row with them")
    )]
    pub(super) examples: &'static [&'static str],
    /// Messages that are not.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests prove each row with them")
    )]
    pub(super) lookalikes: &'static [&'static str],
}

/// How a message relates to the report before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Begins a report.
    Begins,
    /// Begins a report, unless one that explains it is still waiting for its
    /// stack: `invalid opcode` after `kernel BUG at`.
    Continues,
    /// A panic: ends what caused it, or stands alone.
    Panics,
    /// Begins a report that counts only if a later line, which begins with one of
    /// these, confirms it.
    Tentative(&'static [&'static str]),
    /// The kernel's banner: a restart, if something ran before.
    Banner,
    /// No report: explains a banner that follows.
    Restarts,
    /// No report: there was more of what was told before.
    Told,
    /// A boot loader hands over: a report if the log has no more to say.
    Hands,
    /// Stands before the first line of a report.
    Prelude,
}

impl Role {
    /// Whether it may begin a report of something that went wrong.
    pub(super) fn begins(self) -> bool {
        matches!(
            self,
            Self::Begins | Self::Continues | Self::Panics | Self::Tentative(_)
        )
    }
}

/// The row that most rows are like.
const ROW: Rule = Rule {
    name: "",
    literal: "",
    pattern: "",
    class: Class::Other,
    title: "",
    alternative: "",
    function: Choice::Stack,
    stack: true,
    role: Role::Begins,
    examples: &[],
    lookalikes: &[],
};

/// A rule with its pattern compiled.
pub(super) struct Compiled {
    /// The row.
    pub(super) rule: &'static Rule,
    pub(super) regex: Regex,
    /// Whether such messages begin with the rule's text.
    literal_first: bool,
}

/// The compiled table.
pub(super) struct Table {
    pub(super) rules: Vec<Compiled>,
    /// Finds every literal of the table.
    literals: AhoCorasick,
    /// The rules of each literal, in the table's order.
    of_literal: Vec<Vec<usize>>,
}

/// Texts that are searched for at once: with more of them the search compares byte by
/// byte, and takes several times as long. Rows that are like others share a text.
#[cfg(test)]
const MOST_TEXTS: usize = 64;

/// Bytes of each that the search compares first.
#[cfg(test)]
const SHORTEST_TEXT: usize = 4;

/// The table of the program, compiled once.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

impl Table {
    #[expect(
        clippy::expect_used,
        reason = "the tests compile every pattern of the table"
    )]
    fn new() -> Self {
        let rows = [
            memory::RULES,
            oopses::RULES,
            warnings::RULES,
            locking::RULES,
            hangs::RULES,
            generic::RULES,
        ];
        let mut rules = Vec::new();
        let mut literals: Vec<&str> = Vec::new();
        let mut of_literal: Vec<Vec<usize>> = Vec::new();
        for rule in rows.into_iter().flatten() {
            let index = rules.len();
            if let Some(at) = literals.iter().position(|known| *known == rule.literal) {
                of_literal[at].push(index);
            } else {
                literals.push(rule.literal);
                of_literal.push(vec![index]);
            }
            rules.push(Compiled {
                rule,
                regex: Regex::new(rule.pattern).expect("a pattern of the table"),
                literal_first: rule.pattern[1..].starts_with(rule.literal),
            });
        }
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(literals)
            .expect("the literals of the table");
        Self {
            rules,
            literals,
            of_literal,
        }
    }

    /// The texts that are searched for.
    pub(super) fn texts(&self) -> Vec<&'static str> {
        let mut texts: Vec<&'static str> = Vec::new();
        for compiled in &self.rules {
            if !texts.contains(&compiled.rule.literal) {
                texts.push(compiled.rule.literal);
            }
        }
        texts
    }

    /// Where the next line of interest in `haystack` may be.
    pub(super) fn next(&self, haystack: &[u8]) -> Option<usize> {
        self.literals.find(haystack).map(|found| found.start())
    }

    /// Whether the line may hold the beginning of a report.
    pub(super) fn may_match(&self, line: &[u8]) -> bool {
        self.literals.is_match(line)
    }

    /// The rule that `body`, a message, is of: the first of the table whose
    /// pattern fits.
    pub(super) fn find(&self, body: &str) -> Option<Hit> {
        let message = lead(body);
        let mut candidates: Vec<(usize, usize)> = self
            .literals
            .find_iter(message)
            .take(MOST_LITERALS)
            .flat_map(|found| {
                self.of_literal[found.pattern().as_usize()]
                    .iter()
                    .map(move |index| (*index, found.start()))
            })
            .collect();
        candidates.sort_unstable();
        let lead = body.len() - message.len();
        let here = candidates.iter().find_map(|(index, _)| {
            let captures = self.rules[*index].regex.captures(message)?;
            Some(Hit::new(*index, &captures))
        });
        here.or_else(|| {
            // Something else stands in front: a prompt, a capture's name.
            candidates.iter().find_map(|(index, at)| {
                let compiled = &self.rules[*index];
                starts(message, *at).find_map(|start| {
                    let inner = self::lead(&message[start..]);
                    let begins = message.len() - inner.len() == *at;
                    if compiled.literal_first && !begins || is_quotation(&message[..start]) {
                        return None;
                    }
                    let captures = compiled.regex.captures(inner)?;
                    let mut hit = Hit::new(*index, &captures);
                    hit.prefix = lead + start;
                    hit.doubtful = !is_separate(&message[..start]);
                    Some(hit)
                })
            })
        })
    }
}

/// Where in a line a message may begin that holds a text at `at`: after anything
/// that is no part of a word.
fn starts(message: &str, at: usize) -> impl Iterator<Item = usize> {
    let reach = message.len().min(at + 1);
    let after = message.as_bytes()[..reach]
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !word(pair[0]) && pair[1] != b' '
        })
        .map(|(index, _)| index + 1)
        .filter(|start| message.is_char_boundary(*start));
    after
        .filter(|start| *start <= LONGEST_PREFIX)
        .take(MOST_STARTS)
}

/// Bytes that may stand in front of a message.
const LONGEST_PREFIX: usize = 160;
/// Places of a line at which a message is looked for.
const MOST_STARTS: usize = 24;

/// Texts of the table that are looked at in one line.
const MOST_LITERALS: usize = 8;

/// A line that is of a rule.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    /// Index into the table.
    pub(super) index: usize,
    /// Bytes of the line before the message.
    pub(super) prefix: usize,
    /// Whether these may be a sentence, so that the lines that follow have to
    /// prove them a prefix.
    pub(super) doubtful: bool,
    /// The numbered groups, from 1.
    pub(super) groups: Vec<String>,
    /// The named groups.
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) task: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) cpu: Option<u32>,
}

impl Hit {
    fn new(index: usize, captures: &Captures<'_>) -> Self {
        let named = |name: &str| captures.name(name).map(|found| found.as_str().to_owned());
        let number = |name: &str| captures.name(name).and_then(|n| n.as_str().parse().ok());
        Self {
            index,
            prefix: 0,
            doubtful: false,
            groups: captures
                .iter()
                .skip(1)
                .map(|group| group.map_or_else(String::new, |g| g.as_str().to_owned()))
                .collect(),
            function: named("function"),
            file: named("file"),
            task: named("task"),
            pid: number("pid"),
            cpu: number("cpu"),
        }
    }

    /// The row.
    pub(super) fn rule(&self) -> &'static Rule {
        TABLE.rules[self.index].rule
    }
}

/// Takes off what subsystems put in front of their messages.
fn lead(body: &str) -> &str {
    let mut rest = body;
    loop {
        let before = rest;
        rest = rest.trim_start_matches(['[', ' ', '\t', '*']);
        for word in ["rcu: ", "NMI watchdog: ", "watchdog: ", "traps: PANIC"] {
            if let Some(after) = rest.strip_prefix(word) {
                rest = if word == "traps: PANIC" {
                    &rest[7..]
                } else {
                    after
                };
            }
        }
        // Lockups name the CPU that found them.
        if let Some(after) = rest.strip_prefix("CPU#")
            && let Some((cpu, after)) = after.split_once(": ")
            && cpu.bytes().all(|byte| byte.is_ascii_digit())
        {
            rest = after;
        }
        // Since 6.8 x86 says `Oops: general protection fault, …`.
        if let Some(after) = rest.strip_prefix("Oops: ")
            && after.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            rest = after;
        }
        if rest.len() == before.len() {
            return rest;
        }
    }
}

/// Whether what stands in front of a message quotes it or ends it.
fn is_quotation(before: &str) -> bool {
    let told = ["echo", "grep", "printf", "logger", "print", "---[ end "];
    let result = before.starts_with("ok ") || before.starts_with("not ok ");
    result
        || before.contains(['"', '\'', '`', '='])
        || told.iter().any(|word| before.contains(word))
}

/// Whether what stands in front of a message is a prefix of the capture rather
/// than part of a sentence or of a command.
fn is_separate(before: &str) -> bool {
    let end = before.trim_end();
    before.len() <= 64
        && (end.ends_with([']', '|', '>']) || end.ends_with("login:") || end.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_matches_its_examples_and_none_of_its_lookalikes() {
        for (index, compiled) in TABLE.rules.iter().enumerate() {
            let rule = compiled.rule;
            assert!(!rule.examples.is_empty(), "{} has no example", rule.name);
            for example in rule.examples {
                let hit = TABLE.find(example);
                assert_eq!(
                    hit.map(|hit| hit.rule().name),
                    Some(rule.name),
                    "{} (row {index}): {example}",
                    rule.name
                );
                assert!(
                    example.contains(rule.literal),
                    "{}: {example} lacks the literal",
                    rule.name
                );
            }
            for lookalike in rule.lookalikes {
                let hit = TABLE.find(lookalike).filter(|hit| !hit.doubtful);
                assert_ne!(
                    hit.map(|hit| hit.rule().name),
                    Some(rule.name),
                    "{}: {lookalike}",
                    rule.name
                );
            }
        }
    }

    #[test]
    fn the_texts_are_few_and_long_enough_to_be_searched_for_at_once() {
        let texts = TABLE.texts();
        assert!(texts.len() <= MOST_TEXTS, "{} texts", texts.len());
        for text in texts {
            assert!(text.len() >= SHORTEST_TEXT, "{text:?}");
        }
    }

    #[test]
    fn names_are_unique_and_patterns_anchored() {
        let mut seen = std::collections::BTreeSet::new();
        for compiled in &TABLE.rules {
            assert!(seen.insert(compiled.rule.name), "{}", compiled.rule.name);
            assert!(
                compiled.rule.pattern.starts_with('^'),
                "{}",
                compiled.rule.name
            );
        }
    }

    #[test]
    fn chatter_and_quotations_are_no_findings() {
        for text in [
            "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 3.141 msecs",
            "EXT4-fs (vdb): INFO: recovery required on readonly filesystem",
            "WARNING: workqueue cpumask: online intersect > possible intersect",
            "WARNING: the x mount option is deprecated",
            "traps: a.out[4242] general protection fault ip:55d0c0de1234 sp:7ffd00001230 error:0",
            "+ echo \"BUG: soft lockup - CPU#1 stuck for 22s! [a:1]\"",
            "grep -q 'Kernel panic - not syncing' log",
            "looking for BUG: KASAN: use-after-free in x",
            "[Firmware Bug]: TSC_DEADLINE disabled due to Errata",
            "Future hung task reports are suppressed, see sysctl kernel.hung_task_warnings",
            "rcu: INFO: rcu_sched detected stall, but suppressed full report due to a stuck CSD-lock.",
        ] {
            let hit = TABLE.find(text).filter(|hit| !hit.doubtful);
            assert!(hit.is_none(), "{text}: {hit:?}");
        }
    }
}
