//! What a webhook is sent: a body with words in braces that facts take the place
//! of. A body of keys and values is sent as JSON, and facts go into its texts, so
//! that none of them can change its shape; a text is sent as it is.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::did_you_mean;
use crate::outcome::VerdictKind;
use crate::printable::printable;

/// The words that may stand in braces, and what takes their place.
pub const WORDS: &[(&str, &str)] = &[
    ("job", "the job's name"),
    ("verdict", "what it is now"),
    ("before", "what it was, or `nothing`"),
    ("reason", "why, as the report says"),
    ("kernels", "the releases of the kernels"),
    ("run", "the run's directory"),
    ("host", "the machine's name"),
    ("link", "what KVET_LINK holds"),
];

/// Characters of a fact that are sent. Chat programs cut at some thousands.
const LONGEST: usize = 1500;

/// A body with words in braces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Body(Value);

impl Default for Body {
    /// What Slack, Mattermost and their like take.
    fn default() -> Self {
        Self(json!({
            "text": "{{job}}: {{verdict}} (before: {{before}}). {{reason}} {{link}}"
        }))
    }
}

/// A body that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its media type.
    pub kind: &'static str,
    /// Its content.
    pub text: String,
}

/// What takes the place of the words. What guests and jobs wrote in it is only
/// ever text: no mark of a terminal's, and none that a chat program takes for a
/// link or a call to everybody.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The job's name.
    pub job: String,
    /// What its verdict is now.
    pub verdict: VerdictKind,
    /// What was told before.
    pub before: Option<VerdictKind>,
    /// Why it is what it is.
    pub reason: String,
    /// The releases of its kernels.
    pub kernels: String,
    /// The run's directory.
    pub run: String,
    /// The machine's name.
    pub host: String,
    /// Where the report can be seen.
    pub link: String,
}

impl Facts {
    /// What was told before, in a word.
    pub(super) fn before(&self) -> &'static str {
        self.before.map_or("nothing", VerdictKind::name)
    }

    fn of_word(&self, word: &str) -> Option<String> {
        Some(match word {
            "job" => quiet(&self.job),
            "verdict" => self.verdict.name().to_owned(),
            "before" => self.before().to_owned(),
            "reason" => quiet(&self.reason),
            "kernels" => quiet(&self.kernels),
            "run" => quiet(&self.run),
            "host" => quiet(&self.host),
            // The user's own: an address stays one.
            "link" => printable(&self.link),
            _ => return None,
        })
    }
}

/// Text of others without what chat programs act on: `<!channel>`, `@here`, a
/// link with another text than its address.
fn quiet(text: &str) -> String {
    let text = printable(text);
    let mut quiet: String = text
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            '<' => '\u{2039}',
            '>' => '\u{203a}',
            '@' => '\u{ff20}',
            '[' => '(',
            ']' => ')',
            '`' => '\'',
            c => c,
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        quiet.push('\u{2026}');
    }
    quiet
}

impl Body {
    /// Sees that each word in braces is one that there is. What is wrong and what
    /// would fit, otherwise.
    pub fn check(&self) -> Result<(), (String, Option<String>)> {
        let mut wrong = Ok(());
        each_text(&self.0, &mut |text| {
            for piece in pieces(text) {
                if let Piece::Word(word) = piece
                    && wrong.is_ok()
                    && !WORDS.iter().any(|(known, _)| *known == word)
                {
                    let known = WORDS.iter().map(|(known, _)| *known);
                    let all: Vec<&str> = known.clone().collect();
                    let help = did_you_mean(word, known)
                        .unwrap_or_else(|| format!("there is: {}", all.join(", ")));
                    let shown: String = word.chars().take(40).collect();
                    wrong = Err((format!("there is no `{{{{{shown}}}}}`"), Some(help)));
                }
            }
        });
        wrong
    }

    /// The body with facts in the words' place.
    #[must_use]
    pub fn filled(&self, facts: &Facts) -> Message {
        let fill = |text: &str| -> String {
            let filled = pieces(text).map(|piece| match piece {
                Piece::Text(text) => text.to_owned(),
                Piece::Word(word) => facts.of_word(word).unwrap_or_default(),
            });
            filled.collect::<String>().trim_end().to_owned()
        };
        if let Value::String(text) = &self.0 {
            return Message {
                kind: "text/plain; charset=utf-8",
                text: fill(text),
            };
        }
        let mut value = self.0.clone();
        change_texts(&mut value, &fill);
        Message {
            kind: "application/json",
            text: value.to_string(),
        }
    }
}

/// A piece of a text of a body.
enum Piece<'a> {
    Text(&'a str),
    Word(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix("{{")
            && let Some(end) = inside.find("}}")
        {
            rest = &inside[end + 2..];
            return Some(Piece::Word(inside[..end].trim()));
        }
        // Braces that do not close are text.
        let skip = rest.chars().next().map_or(0, char::len_utf8);
        let at = rest[skip..].find("{{").map_or(rest.len(), |at| at + skip);
        let (piece, after) = rest.split_at(at);
        rest = after;
        Some(Piece::Text(piece))
    })
}

fn each_text(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, see)),
        Value::Object(entries) => entries.values().for_each(|item| each_text(item, see)),
        _ => {}
    }
}

fn change_texts(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| change_texts(item, change)),
        Value::Object(entries) => {
            entries
                .values_mut()
                .for_each(|item| change_texts(item, change));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            job: "j".to_owned(),
            verdict: VerdictKind::NotFixed,
            before: Some(VerdictKind::Fixed),
            reason: "a \"quoted\" \\ word {{job}}".to_owned(),
            kernels: "k".to_owned(),
            run: "r".to_owned(),
            host: "h".to_owned(),
            link: "l".to_owned(),
        }
    }

    #[test]
    fn facts_cannot_change_the_shape_of_a_body() {
        let body: Body = serde_yaml::from_str(
            "{ content: \"{{job}} is {{ verdict }}: {{reason}}\", list: [1, \"{{before}}\"] }",
        )
        .unwrap();
        let message = body.filled(&facts());
        assert_eq!(message.kind, "application/json");
        let sent: Value = serde_json::from_str(&message.text).unwrap();
        let reason = "j is not fixed: a \"quoted\" \\ word {{job}}";
        assert_eq!(sent, json!({ "content": reason, "list": [1, "fixed"] }));
        let text: Body = serde_yaml::from_str("'{{job}} { {{ open'").unwrap();
        assert_eq!(text.filled(&facts()).text, "j { {{ open");
    }

    #[test]
    fn a_word_that_there_is_not_is_told_with_the_nearest() {
        assert_eq!(Body::default().check(), Ok(()));
        let all: Vec<String> = WORDS
            .iter()
            .map(|(word, _)| format!("{{{{{word}}}}}"))
            .collect();
        assert_eq!(Body(json!(all)).check(), Ok(()));
        // Each of them is a fact.
        let filled = Body(json!(all)).filled(&facts());
        let filled: Vec<String> = serde_json::from_str(&filled.text).unwrap();
        assert!(filled.iter().all(|fact| !fact.is_empty()), "{filled:?}");
        let (message, help) = Body(json!({ "a": ["{{verdikt}}"] })).check().unwrap_err();
        assert_eq!(message, "there is no `{{verdikt}}`");
        assert!(help.unwrap().contains("verdict"));
    }

    #[test]
    fn what_guests_say_calls_nobody() {
        let said = quiet("<!channel> @here [x](https://x.example) `a`\u{202e}\x1b[2J\n");
        for mark in ['<', '>', '@', '[', '`', '\u{202e}', '\x1b', '\n'] {
            assert!(!said.contains(mark), "{said}");
        }
        assert_eq!(quiet(&"x".repeat(9000)).chars().count(), LONGEST + 1);
    }
}
