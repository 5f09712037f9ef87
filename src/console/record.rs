//! Containers that hold a message in a field of their own: `journalctl -o json`,
//! `-o export`, `-o verbose`, `dmesg --json`, and the logs of container engines.

use serde_json::Value;

/// A message and what its container says of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Record {
    pub(super) message: String,
    /// Seconds since boot.
    pub(super) time: Option<f64>,
    pub(super) level: Option<u8>,
    /// Wall-clock time as the container spells it.
    pub(super) clock: Option<Box<str>>,
    /// Whether a program wrote it.
    pub(super) user: bool,
    /// Whether syslog or a journal passed it on.
    pub(super) relayed: bool,
}

/// The record that a line is, or the part of one that tells something.
pub(super) fn unpack(text: &str) -> Option<Record> {
    let text = text.trim();
    if matches!(text, "{" | "}" | "}," | "]" | "\"dmesg\": [") {
        return Some(Record::default());
    }
    // A lab's list of such.
    if let Some(item) = text.strip_prefix("- ").filter(|item| item.starts_with('{')) {
        return object(item);
    }
    match text.as_bytes().first()? {
        b'{' => object(text),
        b'"' => dmesg_field(text),
        b'M' | b'_' => journal_field(text),
        _ => verbose_head(text),
    }
}

/// A whole object in a line.
fn object(text: &str) -> Option<Record> {
    let fields: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
    let string = |key: &str| fields.get(key).and_then(Value::as_str);
    let number = |key: &str| match fields.get(key)? {
        Value::String(text) => text.parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let seconds = |key| number(key).map(|micros| micros / 1e6);
    if let Some(message) = fields.get("MESSAGE") {
        let source = string("_TRANSPORT").or_else(|| string("SYSLOG_IDENTIFIER"));
        return Some(Record {
            message: message_of(message)?,
            time: seconds("_SOURCE_MONOTONIC_TIMESTAMP")
                .or_else(|| seconds("__MONOTONIC_TIMESTAMP")),
            level: string("PRIORITY").and_then(|level| level.parse().ok()),
            clock: seconds("__REALTIME_TIMESTAMP").and_then(clock),
            user: source.is_some_and(|source| source != "kernel"),
            relayed: true,
        });
    }
    let message = ["log", "msg", "message"].into_iter().find_map(string)?;
    Some(Record {
        message: message.trim_end_matches(['\n', '\r']).to_owned(),
        time: fields.get("time").and_then(Value::as_f64),
        level: fields
            .get("pri")
            .and_then(Value::as_u64)
            .and_then(|level| u8::try_from(level & 7).ok()),
        clock: string("time").or_else(|| string("dt")).map(Into::into),
        ..Record::default()
    })
}

/// A journal's message is an array of bytes where it is no text.
fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(bytes) => {
            let bytes: Vec<u8> = bytes
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok())
                .collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

/// Seconds since 1970 as people write them.
fn clock(seconds: f64) -> Option<Box<str>> {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    let time = jiff::Timestamp::from_duration(span).ok()?;
    Some(time.to_string().into())
}

/// A line of `dmesg --json`, which spreads each message over several.
fn dmesg_field(text: &str) -> Option<Record> {
    let (key, value) = text.split_once(':')?;
    let value = value.trim().trim_end_matches(',');
    match key {
        "\"msg\"" => Some(Record {
            message: serde_json::from_str(value).ok()?,
            ..Record::default()
        }),
        "\"time\"" => Some(Record {
            time: Some(value.trim_matches('"').trim().parse().ok()?),
            ..Record::default()
        }),
        "\"pri\"" | "\"caller\"" => Some(Record::default()),
        _ => None,
    }
}

/// A line of `journalctl -o export` or `-o verbose`.
fn journal_field(text: &str) -> Option<Record> {
    let (key, value) = text.split_once('=')?;
    match key {
        "MESSAGE" => Some(Record {
            message: value.to_owned(),
            relayed: true,
            ..Record::default()
        }),
        "_SOURCE_MONOTONIC_TIMESTAMP" | "__MONOTONIC_TIMESTAMP" => Some(Record {
            time: value.parse::<f64>().ok().map(|micros| micros / 1e6),
            relayed: true,
            ..Record::default()
        }),
        _ => None,
    }
}

/// The first line of a record of `-o verbose`: `Tue 2024-01-30 14:00:29.364515
/// CET [s=01;i=1;b=02;m=1;t=1;x=1]`, in which `m` is the time since boot.
fn verbose_head(text: &str) -> Option<Record> {
    let cursor = text.strip_suffix(']')?;
    let (clock, cursor) = cursor.rsplit_once(" [s=")?;
    let (_, micros) = cursor.split_once(";m=")?;
    let micros = micros.split(';').next()?;
    #[expect(clippy::cast_precision_loss, reason = "time since boot is small")]
    let time = u64::from_str_radix(micros, 16).ok()? as f64 / 1e6;
    Some(Record {
        time: Some(time),
        clock: Some(clock.into()),
        relayed: true,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Option<String> {
        unpack(text).map(|record| record.message)
    }

    #[test]
    fn every_container_gives_its_message() {
        for text in [
            r#"{"MESSAGE":"a \"b\"","_TRANSPORT":"kernel"}"#,
            r#"{"MESSAGE":[97,32,34,98,34],"_TRANSPORT":"kernel"}"#,
            r#"{"log":"a \"b\"\n","stream":"stdout","time":"2026-11-22T14:00:00Z"}"#,
            r#"{"pri":4,"time":29.3,"msg":"a \"b\""}"#,
            r#"- {"dt": "2026-11-22T14:00:00.1", "lvl": "target", "msg": "a \"b\""}"#,
            r#"   "msg": "a \"b\"""#,
            r#"    MESSAGE=a "b""#,
        ] {
            assert_eq!(message(text).as_deref(), Some("a \"b\""), "{text}");
        }
    }

    #[test]
    fn a_journal_tells_who_and_when() {
        let record = unpack(
            r#"{"__MONOTONIC_TIMESTAMP":"12500000","MESSAGE":"x","_TRANSPORT":"kernel","PRIORITY":"4","__REALTIME_TIMESTAMP":"1794319200000000"}"#,
        )
        .unwrap();
        assert_eq!(record.time, Some(12.5));
        assert_eq!(record.level, Some(4));
        assert_eq!(record.clock.as_deref(), Some("2026-11-10T14:00:00Z"));
        assert!(!record.user && record.relayed);
        let record = unpack(r#"{"MESSAGE":"x","SYSLOG_IDENTIFIER":"sshd"}"#).unwrap();
        assert!(record.user);
        let head = "Tue 2024-01-30 14:00:29.364515 CET [s=01;i=1;b=02;m=f4240;t=1;x=1]";
        let record = unpack(head).unwrap();
        assert_eq!((&*record.message, record.time), ("", Some(1.0)));
        let clock = "Tue 2024-01-30 14:00:29.364515 CET";
        assert_eq!(record.clock.as_deref(), Some(clock));
    }

    #[test]
    fn other_lines_are_no_records() {
        for text in [
            "",
            "{\"a\": 1}",
            "{\"MESSAGE\":7}",
            "Memory state around the buggy address:",
            "_TRANSPORT=kernel",
            "BUG: x [s=",
            "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.",
        ] {
            assert_eq!(message(text), None, "{text}");
        }
    }
}
