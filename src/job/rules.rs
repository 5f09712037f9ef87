//! What a job asks of its verdict: how sure it must be, and whether trials go on
//! until it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most trials of an arm and workload unless the job says otherwise.
const MOST: u32 = 200;

/// How sure a verdict has to be: one minus the share of wrong ones that is
/// accepted. Written `95%`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("pattern" = "^ *[0-9]+([.][0-9]+)? *% *$")))]
#[serde(try_from = "String", into = "String")]
pub struct Confidence(f64);

/// A confidence that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a confidence; write it as 95%, between 50% and 99.99%")]
pub struct BadConfidence(String);

impl Confidence {
    /// The share of wrong verdicts that is accepted: .05 for `95%`.
    #[must_use]
    pub fn alpha(self) -> f64 {
        1.0 - self.0 / 100.0
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Self(95.0)
    }
}

impl FromStr for Confidence {
    type Err = BadConfidence;

    fn from_str(text: &str) -> Result<Self, BadConfidence> {
        let number = text.trim().strip_suffix('%').map(str::trim_end);
        let percent = number.and_then(|number| number.parse().ok());
        percent
            .filter(|percent| (50.0..=99.99).contains(percent))
            .map(Self)
            .ok_or_else(|| BadConfidence(text.to_owned()))
    }
}

impl TryFrom<String> for Confidence {
    type Error = BadConfidence;

    fn try_from(text: String) -> Result<Self, BadConfidence> {
        text.parse()
    }
}

impl From<Confidence> for String {
    fn from(confidence: Confidence) -> Self {
        format!("{}%", confidence.0)
    }
}

impl fmt::Display for Confidence {
    /// `95 %`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// By what rules a job is judged. The default is that of a record from before
/// jobs could say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rules {
    /// How sure a verdict has to be.
    #[serde(default)]
    pub confidence: Confidence,
    /// Trials go on until the verdict is settled, or there were this many of
    /// each arm and workload. Without it the numbers are fixed beforehand.
    #[serde(default)]
    pub until: Option<u32>,
}

impl Rules {
    /// Trials go on until the verdict is this sure; `most` of each arm and
    /// workload, 200 unless given.
    #[must_use]
    pub fn until(confidence: Confidence, most: Option<u32>) -> Self {
        Self {
            confidence,
            until: Some(most.unwrap_or(MOST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_is_a_percentage() {
        for (text, alpha) in [("95%", 0.05), ("99.9 %", 0.001)] {
            let confidence: Confidence = text.parse().unwrap();
            assert!((confidence.alpha() - alpha).abs() < 1e-12, "{text}");
        }
        for text in ["95", "0.95", "100%", "5%", "%", "NaN%", "sure"] {
            assert!(text.parse::<Confidence>().is_err(), "{text}");
        }
        let json = serde_json::to_string(&Rules::default()).unwrap();
        assert_eq!(json, r#"{"confidence":"95%","until":null}"#);
        assert_eq!(
            serde_json::from_str::<Rules>("{}").unwrap(),
            Rules::default()
        );
    }
}
