//! A host over ssh, without an engine. Inputs are sent before, once, with rsync
//! where both sides have it. A session's end is the end of what it started: nothing
//! stays on a host but the inputs in its cache.
//!
//! ssh is the user's own, with their configuration and keys; `KVET_SSH` names
//! another command (`ssh -F file`).

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::batch::Digest;
use super::connection::{Connection, Refusal, what_failed};
use crate::process::{Command, ProcessError, find_program};

/// How long a command that looks at a host may take.
const GLANCE: Duration = Duration::from_secs(60);

/// How long sending an input may take.
const SENDING: Duration = Duration::from_secs(1800);

/// The host, as ssh knows it.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) name: String,
    /// For ssh's own processes.
    pub(super) token: CancellationToken,
}

impl Remote {
    /// `ssh HOST COMMAND`, without a question to anybody.
    fn ssh(&self, command: &str) -> Command {
        let words = ssh_words();
        let (program, own) = words
            .split_first()
            .map_or(("ssh", &[][..]), |(first, rest)| (first.as_str(), rest));
        Command::new(program)
            .args(own)
            .args(OPTIONS)
            .arg("--")
            .arg(&self.name)
            .arg(command)
    }

    /// Runs a shell script on the host, which reads it from its standard input.
    async fn script(&self, script: String) -> Result<String, ProcessError> {
        let finished = self
            .ssh("sh -s")
            .input(script)
            .deadline(GLANCE)
            .run(&self.token)
            .await?;
        Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    /// Starts the program there.
    pub(super) async fn start(&self, program: (&Digest, &Path)) -> Result<Connection, Refusal> {
        let place = self.provide(&[program]).await?;
        let program = program.0.as_str();
        let spawned = self
            .ssh(&format!("exec '{place}/{program}/content' batch -"))
            .spawn(true);
        Connection::of(spawned.map_err(|error| Refusal::Failed(what_failed(error)))?)
    }

    /// Sees that the host has these inputs; where they are.
    pub(super) async fn provide(&self, inputs: &[(&Digest, &Path)]) -> Result<String, Refusal> {
        let digests: Vec<&Digest> = inputs.iter().map(|(digest, _)| *digest).collect();
        let said = self.script(asking(&digests)).await;
        let said = said.map_err(|error| {
            Refusal::Failed(format!("it cannot be reached: {}", what_failed(error)))
        })?;
        let mut lines = said.lines();
        let place = lines.next().unwrap_or_default().to_owned();
        if !place.starts_with('/') || !place.chars().all(is_plain) {
            return Err(Refusal::Unfit(format!(
                "its directory for inputs, {place:?}, cannot be used"
            )));
        }
        let has_rsync = lines.next() == Some("rsync");
        let missing: Vec<&str> = lines.collect();
        for (digest, path) in inputs {
            if missing.contains(&digest.as_str()) {
                self.send(digest, path, &place, has_rsync).await?;
            }
        }
        Ok(place)
    }

    /// Sends an input. It appears whole, once its digest was found right. The host
    /// sees to that by itself: if this process dies nothing of the input stays there.
    async fn send(
        &self,
        digest: &Digest,
        path: &Path,
        place: &str,
        has_rsync: bool,
    ) -> Result<(), Refusal> {
        let partial = partial(place, path, digest);
        let receiving = |reader| receiving(&partial, place, digest, reader);
        let command = if has_rsync && find_program("rsync").is_some() {
            let words = [ssh_words(), OPTIONS.map(str::to_owned).to_vec()].concat();
            // Over there rsync's own arguments follow the script.
            let receiver = receiving("rsync \"$@\"");
            Command::new("rsync")
                .args(["--compress", "--times", "--copy-links"])
                .arg(format!("--rsh={}", words.join(" ")))
                .arg(format!("--rsync-path={receiver}"))
                .arg("--")
                .arg(path)
                .arg(format!("{}:{partial}/content", self.name))
        } else {
            let content = std::fs::read(path)
                .map_err(|error| Refusal::Failed(format!("{}: {error}", path.display())))?;
            let reader = format!("cat > {partial}/content");
            self.ssh(&receiving(&reader)).input(content)
        };
        // It may be the disk that is full, or the host that is gone.
        let sent = command.deadline(SENDING).run(&self.token).await;
        sent.map(drop).map_err(|error| {
            Refusal::Failed(format!(
                "what it needs cannot be sent: {}",
                what_failed(error)
            ))
        })
    }
}

/// Options for ssh: nobody answers a question, and a host that is gone is noticed.
const OPTIONS: [&str; 8] = [
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=15",
    "-o",
    "ServerAliveInterval=10",
    "-o",
    "ServerAliveCountMax=3",
];

/// The user's ssh.
fn ssh_words() -> Vec<String> {
    let words = std::env::var("KVET_SSH").unwrap_or_else(|_| "ssh".to_owned());
    words.split_whitespace().map(str::to_owned).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-_.+@".contains(c)
}

/// Asks for the directory of inputs, for rsync, and which of these are missing.
fn asking(digests: &[&Digest]) -> String {
    let names: Vec<&str> = digests.iter().map(|digest| digest.as_str()).collect();
    format!(
        "set -eu\numask 077\n\
         d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}/kvet/inputs\"\n\
         mkdir -p \"$d\"\ncd \"$d\"\npwd -P\n\
         if command -v rsync >/dev/null; then echo rsync; else echo none; fi\n\
         for i in {}; do test -f \"$i/content\" || echo \"$i\"; done\n",
        names.join(" ")
    )
}

/// Where an input is until it is whole. The same one may be on its way there once
/// more: from another driver, or from this one, for a kernel that is to be made.
fn partial(place: &str, path: &Path, digest: &Digest) -> String {
    let own = super::digest_of_path(path);
    format!("{place}/.kvet-{own}-{}", digest.as_str())
}

/// What a host does with an input: `reader` makes the file, which gets its place if
/// it is what it should be. A sender that is gone is the end of the reader's input.
/// In one line, as the user's shell there may be any; all paths are plain.
fn receiving(partial: &str, place: &str, digest: &Digest, reader: &str) -> String {
    let digest = digest.as_str();
    let script = [
        "set -eu; umask 077",
        &format!("trap \"rm -rf {partial}\" EXIT"),
        "trap \"exit 1\" HUP INT TERM PIPE",
        &format!("mkdir -p {partial}"),
        reader,
        &format!("if ! echo \"{digest}  {partial}/content\" | sha256sum --check --status"),
        "then echo \"an input arrived damaged\" >&2; exit 1; fi",
        &format!("chmod 700 {partial}/content"),
        &format!(
            "mv -T {partial} {place}/{digest} 2>/dev/null || test -f {place}/{digest}/content"
        ),
    ];
    format!("sh -c '{}' sh", script.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_sent_twice_at_once_has_two_places() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("kvet");
        std::fs::write(&file, "x").unwrap();
        let digest = Digest::of(&file).unwrap();
        let [one, other] = [(); 2].map(|()| partial("/inputs", &file, &digest));
        assert_ne!(one, other);
        for partial in [one, other] {
            assert!(partial.starts_with("/inputs/.kvet-"), "{partial}");
            assert!(partial.chars().all(is_plain), "{partial}");
        }
    }
}
