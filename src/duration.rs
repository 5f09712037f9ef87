//! How long something may last, as people write it (`1500ms`, `20s`, `2m 30s`, `14d`)
//! in jobs, workloads, settings and arguments. A bare number but 0 is refused: nobody
//! could tell of what.
//!
//! `#[serde(with = "crate::duration")]` reads a [`Duration`] and writes it back in a
//! form that is read again.
#![forbid(clippy::disallowed_methods)]

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Reads one.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("{text:?} is not a time such as 20s or 14d: {error}"))
}

/// Writes it the way people do (`1m 30s`).
pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*value))
}

/// Reads it the way people write it.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// `#[serde(default, with = "crate::duration::optional")]`: one that may be left out.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, parse};

    /// Writes it the way people do; nothing for nothing.
    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    /// Reads it the way people write it; nothing from nothing.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| parse(&text).map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[test]
    fn a_time_has_its_unit() {
        assert_eq!(parse("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse(" 2m 30s\n"), Ok(Duration::from_secs(150)));
        assert_eq!(parse("14d"), Ok(Duration::from_secs(14 * 86400)));
        for wrong in ["14", "soon", "-1s", ""] {
            let error = parse(wrong).unwrap_err();
            let said = format!("{wrong:?} is not a time such as 20s or 14d: ");
            assert!(error.starts_with(&said), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Times {
            #[serde(with = "super")]
            one: Duration,
            #[serde(default, with = "super::optional")]
            other: Option<Duration>,
        }
        let times: Times = serde_yaml::from_str("{ one: 90s }").unwrap();
        let text = serde_json::to_string(&times).unwrap();
        assert_eq!(text, r#"{"one":"1m 30s","other":null}"#);
        assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), times);
        assert_eq!(
            serde_yaml::from_str::<Times>("{ one: 90s, other: ~ }").unwrap(),
            times
        );
        let text = r#"{"one":"1m 30s","other":"1500ms"}"#;
        let times: Times = serde_json::from_str(text).unwrap();
        assert_eq!(times.one, Duration::from_secs(90));
        assert_eq!(times.other, Some(Duration::from_millis(1500)));
        assert!(serde_json::from_str::<Times>(r#"{"one":90}"#).is_err());
    }
}
