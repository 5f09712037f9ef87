//! The clients that metadata servers know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A client's session with the metadata servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The client's number: N of `libceph: clientN fsid …` in the guest's log.
    pub id: u64,
    /// The client's name for its host.
    pub hostname: String,
    /// `open`, `opening`, `stale`, `closing` or `killing`.
    pub state: String,
    /// The client's kernel; empty for other clients.
    pub kernel_version: String,
    /// The directory of the file system that it mounted.
    pub root: String,
    /// Capabilities that it holds.
    pub caps: u64,
    /// The metadata servers that have this session, such as `mds.a`.
    pub servers: Vec<String>,
}

/// The longest text of a session's that is kept, in characters: what a client says of
/// itself may be of any length.
const LONGEST: usize = 255;

/// The sessions in one server's answer to `session ls`.
pub(super) fn parse(server: &str, answer: &Value) -> Vec<Session> {
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.chars().take(LONGEST).collect::<String>()
    };
    answer
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|session| {
            let metadata = &session["client_metadata"];
            Some(Session {
                id: session["id"].as_u64()?,
                hostname: text(&metadata["hostname"]),
                state: text(&session["state"]),
                kernel_version: text(&metadata["kernel_version"]),
                root: text(&metadata["root"]),
                caps: session["num_caps"].as_u64().unwrap_or_default(),
                servers: vec![server.to_owned()],
            })
        })
        .collect()
}

/// Joins what several servers said: one session per client.
pub(super) fn merge(all: impl IntoIterator<Item = Session>) -> Vec<Session> {
    let mut merged: Vec<Session> = Vec::new();
    for session in all {
        match merged.iter_mut().find(|known| known.id == session.id) {
            Some(known) => {
                known.caps += session.caps;
                known.servers.extend(session.servers);
            }
            None => merged.push(session),
        }
    }
    merged.sort_by_key(|session| session.id);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_client_of_two_servers_is_one_session() {
        let answer = |caps: u64| {
            json!([{
                "id": 4242, "state": "open", "num_caps": caps,
                "client_metadata": {"hostname": "guest", "kernel_version": "7.3.4", "root": "/"}
            }, {"id": "no number"}])
        };
        let mut all = parse("mds.a", &answer(3));
        all.extend(parse("mds.b", &answer(4)));
        let merged = merge(all);
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].id, 4242);
        assert_eq!(merged[0].caps, 7);
        assert_eq!(merged[0].servers, ["mds.a", "mds.b"]);
        assert_eq!(merged[0].hostname, "guest");
    }

    #[test]
    fn what_a_client_says_of_itself_is_not_kept_without_end() {
        let long = "x".repeat(1 << 20);
        let answer = json!([{
            "id": 4242, "state": "open", "num_caps": 1,
            "client_metadata": {"hostname": long, "kernel_version": long, "root": long}
        }]);
        let session = parse("mds.a", &answer).remove(0);
        for text in [session.hostname, session.kernel_version, session.root] {
            assert_eq!(text.len(), LONGEST);
        }
    }
}
