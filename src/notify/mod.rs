//! Tells a webhook that a job's verdict is another one than before, and says
//! nothing otherwise.
//!
//! A job names where the address is, never the address, which is a secret: who
//! knows it can write to a channel. It stands in no record, log or message of
//! kvet's. Whatever goes wrong here is a warning; the verdict and a run's exit
//! code are what they are.

mod deliver;
mod template;
mod told;

use std::path::PathBuf;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

pub use deliver::{Address, Patience, deliver};
pub use template::{Body, Facts, WORDS};
pub use told::Told;

use crate::bounded;
use crate::context::Context;
use crate::event::Event;
use crate::store::Key;

/// Environment variable: where a report can be seen, for `{{link}}`.
pub const LINK_VARIABLE: &str = "KVET_LINK";

/// The most bytes of a file with an address.
const LONGEST_ADDRESS: u64 = 8 << 10;

/// `notify:` of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Where the webhook's address is.
    pub webhook: Webhook,
    /// What is sent.
    #[serde(default)]
    pub body: Body,
}

/// Where a webhook's address is: `{ env: NAME }` or `{ file: PATH }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Webhook {
    /// In this environment variable.
    Env(String),
    /// In the first line of this file.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for Webhook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Webhook;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("`{ env: NAME }` or `{ file: PATH }`, where the address is")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Webhook, E> {
        Err(E::custom(
            "the address of a webhook is a secret and has no place in a job: say `{ env: NAME }` \
             or `{ file: PATH }`",
        ))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Webhook, A::Error> {
        let mut found = std::collections::BTreeMap::<String, String>::deserialize(
            serde::de::value::MapAccessDeserializer::new(map),
        )?;
        let place = found.pop_first().filter(|_| found.is_empty());
        match place {
            Some((key, name)) if key == "env" && is_variable(&name) => Ok(Webhook::Env(name)),
            // It may be the address itself: it is not said again.
            Some((key, _)) if key == "env" => Err(serde::de::Error::custom(
                "`env` is the name of a variable such as KVET_WEBHOOK",
            )),
            Some((key, path)) if key == "file" => Ok(Webhook::File(path.into())),
            _ => Err(serde::de::Error::custom(
                "it is `env: NAME` or `file: PATH`",
            )),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain)
}

impl Webhook {
    /// The address, or why there is none; what is said does not hold it.
    fn address(&self) -> Result<Address, String> {
        match self {
            Self::Env(name) => {
                let value = std::env::var(name).unwrap_or_default();
                if value.trim().is_empty() {
                    return Err(format!("{name} is not set in the environment"));
                }
                Address::read(&value).map_err(|wrong| format!("what {name} holds {wrong}"))
            }
            Self::File(path) => {
                let shown = path.display();
                let text = bounded::read_own(path, LONGEST_ADDRESS)
                    .map_err(|error| format!("cannot read {shown}: {error}"))?;
                let text = String::from_utf8_lossy(&text);
                let line = text.lines().next().unwrap_or_default();
                Address::read(line).map_err(|wrong| format!("the first line of {shown} {wrong}"))
            }
        }
    }
}

/// Tells the webhook of a verdict, if it is another one than the last that was
/// told of this series: the verdicts of one job on one stream of kernels.
/// What was told before is filled in here. Never fails, and takes no longer than
/// [`Patience`] has.
pub async fn tell(context: &Context, notify: &Notify, series: &Key, facts: Facts) {
    if let Err(problem) = try_to_tell(context, notify, series, facts).await {
        context.emit(Event::Warning(format!(
            "the webhook was not told: {problem}"
        )));
    }
}

async fn try_to_tell(
    context: &Context,
    notify: &Notify,
    series: &Key,
    mut facts: Facts,
) -> Result<(), String> {
    // Even if nothing is to be told: one that is missing is better known early.
    let address = notify.webhook.address()?;
    let told = Told::of(&facts.job, series);
    let told = told.map_err(|error| error.to_string())?;
    let verdict = facts.verdict;
    facts.before = told.last();
    if !told::is_news(facts.before, verdict) {
        return told.keep(verdict).map_err(|error| error.to_string());
    }
    let message = notify.body.filled(&facts);
    let patience = Patience::default();
    tokio::select! {
        delivered = deliver(&address, &message, &patience) => delivered?,
        () = context.cancel.cancelled() => return Err("interrupted".to_owned()),
    }
    context.emit(Event::Note(format!(
        "the webhook was told: {} (before: {})",
        verdict.name(),
        facts.before()
    )));
    // What was not kept is told again, which is better than never.
    told.keep(verdict).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Notify, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_says_where_the_address_is_and_never_what_it_is() {
        let notify = read("webhook: { env: KVET_WEBHOOK }").unwrap();
        assert_eq!(notify.webhook, Webhook::Env("KVET_WEBHOOK".to_owned()));
        let written = serde_json::to_value(&notify).unwrap();
        assert_eq!(serde_json::from_value::<Notify>(written).unwrap(), notify);
        let secret = "https://hooks.example/T0/B0/XXXX";
        for (yaml, said) in [
            (format!("webhook: {secret}"), "is a secret"),
            (
                format!("webhook: {{ env: \"{secret}\" }}"),
                "name of a variable",
            ),
            (
                format!("webhook: {{ url: \"{secret}\" }}"),
                "it is `env: NAME`",
            ),
            (
                "webhook: { env: A, file: b }".to_owned(),
                "it is `env: NAME`",
            ),
            ("webhook: {}".to_owned(), "it is `env: NAME`"),
            ("{}".to_owned(), "missing field `webhook`"),
            ("webhok: { env: A }".to_owned(), "unknown field `webhok`"),
        ] {
            let error = read(&yaml).unwrap_err();
            assert!(error.contains(said), "{yaml}: {error}");
            assert!(!error.contains(secret), "{error}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_had_is_named_by_its_place() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("webhook");
        let webhook = Webhook::File(file.clone());
        assert!(webhook.address().unwrap_err().contains("cannot read"));
        for wrong in ["", "hooks.example/secret\n", "ftp://x/secret", "https://"] {
            std::fs::write(&file, wrong).unwrap();
            let said = webhook.address().unwrap_err();
            assert!(said.contains("is not an address"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
        std::fs::write(&file, "https://hooks.example/secret \nmore\n").unwrap();
        let shown = format!("{:?}", webhook.address().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
        let nowhere = Webhook::Env("KVET_NO_SUCH_VARIABLE".to_owned());
        assert!(nowhere.address().unwrap_err().contains("is not set"));
    }
}
