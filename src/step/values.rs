//! How sizes are written in YAML: `4096`, `64KiB`.
//!
//! They are plain numbers in Rust and are written back in a form these readers
//! take again, so a step survives the way to the guest unchanged. So do times
//! (`crate::duration`).

use std::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserializer, Serializer};

/// `#[serde(with = "values::size")]`: a number of bytes.
pub mod size {
    use super::{Deserializer, Serializer, SizeVisitor};

    /// Writes the number.
    pub fn serialize<S: Serializer>(value: &u64, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(*value)
    }

    /// Reads a number or one with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        from.deserialize_any(SizeVisitor)
    }
}

/// `#[serde(with = "values::optional_size")]`: an optional number of bytes.
pub mod optional_size {
    use super::{Deserializer, Serializer, SizeVisitor};

    /// Writes the number; nothing for nothing.
    pub fn serialize<S: Serializer>(value: &Option<u64>, out: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => out.serialize_u64(*value),
            None => out.serialize_none(),
        }
    }

    /// Reads a number or one with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        from.deserialize_any(SizeVisitor).map(Some)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, as in 4096, 64KiB or 1GiB")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A scalar of YAML as the text one would write to a file under `/proc/sys`
/// or pass as an option: `0`, `false`, `some text`.
pub fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    use serde::Deserialize;
    match serde_json::Value::deserialize(from)? {
        serde_json::Value::Bool(value) => Ok(value.to_string()),
        serde_json::Value::Number(value) => Ok(value.to_string()),
        serde_json::Value::String(value) => Ok(value),
        other => Err(D::Error::custom(format!(
            "expected a number, a truth value or a text, not {other}"
        ))),
    }
}

/// A map of scalars, each as text; see [`scalar`].
pub fn scalars<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<std::collections::BTreeMap<String, String>, D::Error> {
    use serde::Deserialize;
    #[derive(Deserialize)]
    struct Scalar(#[serde(deserialize_with = "scalar")] String);
    let map = std::collections::BTreeMap::<String, Scalar>::deserialize(from)?;
    Ok(map.into_iter().map(|(key, value)| (key, value.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("64KiB"), Some(65536));
        assert_eq!(parse_size("2 M"), Some(2 << 20));
        assert_eq!(parse_size("2MB"), None);
        assert_eq!(parse_size("-1"), None);
        assert_eq!(parse_size("99999999999999999999G"), None);
        assert_eq!(parse_size("17179869184G"), None);
    }
}
