//! Sources that move: the newest release of kernel.org's, a branch that is
//! pushed to, a package without a version. [`pin`] says what one stands for now,
//! so that all that is made in a run, and what is remembered of it, is of one
//! kernel.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::channel::Channel;
use super::git::of_the_user;
use super::http::{Downloader, Network};
use super::spec::SourceSpec;
use super::{SourceError, debian};
use crate::context::Context;
use crate::event::Stage;
use crate::kernel::progress::Progress;
use crate::kernel::version::KernelVersion;
use crate::process::ProcessError;
use crate::store::Store;

/// How often kernel.org's list is asked for before it is given up.
const ATTEMPTS: u32 = 3;

/// How much longer than a silence a whole list may take.
const SLOWEST: u32 = 4;

/// Releases that are read of a list; it names a dozen.
const MOST_RELEASES: usize = 1000;

/// A list of a repository's branches is an answer of seconds.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

/// How much is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What says itself that it moves: a channel, a watched branch.
    Moving,
    /// Also a package without a version and a branch or tag of git's.
    All,
}

/// What a source stands for now. One that does not move stays as it is.
pub async fn pin(
    context: &Context,
    store: &Store,
    spec: &SourceSpec,
    extent: Extent,
    network: &Network,
) -> Result<SourceSpec, SourceError> {
    match (spec, extent) {
        (SourceSpec::Newest { channel }, _) => newest(context, network, channel).await,
        (SourceSpec::Watched { repo, branch }, _) => {
            let reference = format!("refs/heads/{branch}");
            commit(context, repo, branch, &reference).await
        }
        (SourceSpec::Git { repo, reference }, Extent::All) if !is_commit(reference) => {
            commit(context, repo, reference, reference).await
        }
        (
            SourceSpec::Debian {
                package,
                version: None,
                suite,
            },
            Extent::All,
        ) => {
            let version = debian::newest(context, store, package, suite.as_deref()).await?;
            Ok(SourceSpec::Debian {
                package: package.clone(),
                version: Some(version),
                suite: suite.clone(),
            })
        }
        _ => Ok(spec.clone()),
    }
}

/// The release that a channel leads to. A release candidate has no archive with
/// a digest, so it is taken from the repository by its tag.
async fn newest(
    context: &Context,
    network: &Network,
    channel: &Channel,
) -> Result<SourceSpec, SourceError> {
    let url = &network.releases;
    let list = releases(context, network, channel).await?;
    let version = list.newest(channel).map_err(|problem| {
        let help = "the other channels are latest-stable, latest-mainline, longterm and series \
                    such as 6.12.y; `version: \"…\"` takes one release";
        SourceError::NotReleased {
            file: format!("{channel} ({problem})"),
            url: url.clone(),
            help: help.to_owned(),
        }
    })?;
    let text = version.to_string();
    Ok(if text.contains('-') {
        SourceSpec::Git {
            repo: network.mainline.clone(),
            reference: format!("v{text}"),
        }
    } else {
        SourceSpec::Release { version }
    })
}

async fn releases(
    context: &Context,
    network: &Network,
    channel: &Channel,
) -> Result<Releases, SourceError> {
    let progress = Progress::start(context, Stage::Source, channel.to_string());
    let downloader = Downloader::new(context, network, &progress)?;
    let url = &network.releases;
    let mut attempts = Vec::new();
    for attempt in 1..=ATTEMPTS {
        // Each piece may come in time and the whole never.
        let text = tokio::time::timeout(network.stall * SLOWEST, downloader.text(url));
        let text = tokio::select! {
            text = text => text.unwrap_or_else(|_| Err("it took too long".to_owned())),
            () = context.cancel.cancelled() => return Err(SourceError::Interrupted),
        };
        match text.and_then(|text| Releases::read(&text)) {
            Ok(list) => {
                progress.finish(false);
                return Ok(list);
            }
            Err(reason) => attempts.push(format!("{url}: {reason}")),
        }
        if attempt < ATTEMPTS {
            tokio::select! {
                () = tokio::time::sleep(network.pause) => {}
                () = context.cancel.cancelled() => return Err(SourceError::Interrupted),
            }
        }
    }
    attempts.dedup();
    Err(SourceError::Download {
        what: "kernel.org's list of releases".to_owned(),
        attempts,
    })
}

/// kernel.org's `releases.json`, as much of it as is needed. Nothing in it is
/// taken for an address or a path.
#[derive(Debug, Deserialize)]
struct Releases {
    #[serde(default)]
    latest_stable: Option<Latest>,
    releases: Vec<Release>,
}

#[derive(Debug, Deserialize)]
struct Latest {
    version: String,
}

#[derive(Debug, Deserialize)]
struct Release {
    moniker: String,
    version: String,
    #[serde(default)]
    iseol: bool,
}

impl Releases {
    fn read(text: &str) -> Result<Self, String> {
        let mut list: Self = serde_json::from_str(text)
            .map_err(|error| format!("it is not a list of releases: {error}"))?;
        list.releases.truncate(MOST_RELEASES);
        Ok(list)
    }

    /// The release of a channel, or why there is none.
    fn newest(&self, channel: &Channel) -> Result<KernelVersion, String> {
        match channel {
            Channel::LatestStable => match &self.latest_stable {
                Some(latest) => {
                    let listed = |release: &Release| release.version == latest.version;
                    if !self.releases.iter().any(listed) {
                        return Err("the list does not have the release that it calls so".into());
                    }
                    let version = released(&latest.version);
                    version.ok_or_else(|| "its version is not one of a release".to_owned())
                }
                None => self.highest(|release, _| release.moniker == "stable"),
            },
            Channel::LatestMainline => self
                .releases
                .iter()
                .filter(|release| release.moniker == "mainline")
                .find_map(|release| release.version.parse().ok())
                .ok_or_else(|| NONE.to_owned()),
            Channel::Longterm => {
                self.highest(|release, _| release.moniker == "longterm" && !release.iseol)
            }
            Channel::Series { major, minor } => self.highest(|release, version| {
                let (of, series, _) = version.numbers();
                let kept = ["stable", "longterm", "mainline"];
                (of, series) == (*major, *minor) && kept.contains(&release.moniker.as_str())
            }),
        }
    }

    /// The release with the highest version of those that fit.
    fn highest(
        &self,
        fits: impl Fn(&Release, &KernelVersion) -> bool,
    ) -> Result<KernelVersion, String> {
        let versions = self.releases.iter().filter_map(|release| {
            let version = released(&release.version)?;
            fits(release, &version).then_some(version)
        });
        let highest = versions.max_by_key(KernelVersion::numbers);
        highest.ok_or_else(|| NONE.to_owned())
    }
}

const NONE: &str = "the list has no such release";

/// The version of a release: numbers alone.
fn released(text: &str) -> Option<KernelVersion> {
    let version: KernelVersion = text.parse().ok()?;
    (!text.contains('-')).then_some(version)
}

fn is_commit(reference: &str) -> bool {
    matches!(reference.len(), 40 | 64) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that a branch or tag names now. `name` is what the job calls it,
/// `asked` what git is asked for.
async fn commit(
    context: &Context,
    repo: &str,
    name: &str,
    asked: &str,
) -> Result<SourceSpec, SourceError> {
    let failed = |source: ProcessError| match source {
        ProcessError::Interrupted => SourceError::Interrupted,
        source => SourceError::Git {
            repo: repo.to_owned(),
            reference: name.to_owned(),
            source,
        },
    };
    let progress = Progress::start(context, Stage::Source, format!("{repo} {name}"));
    let listed = of_the_user(Path::new("."))
        .args(["ls-remote", "--exit-code", "--", repo, asked])
        .args([format!("{asked}^{{}}")])
        .deadline(LIST_DEADLINE)
        .run(&context.cancel)
        .await
        .map_err(failed)?;
    progress.finish(false);
    let listed = String::from_utf8_lossy(&listed.stdout);
    match tip(&listed, asked) {
        Some(commit) => Ok(SourceSpec::Git {
            repo: repo.to_owned(),
            reference: commit.to_owned(),
        }),
        None => Err(SourceError::NoTip {
            repo: repo.to_owned(),
            reference: name.to_owned(),
        }),
    }
}

/// The commit of a reference in what `git ls-remote` prints: `COMMIT NAME` a
/// line. What a tag points to comes before the tag, a branch before both.
fn tip<'a>(listed: &'a str, asked: &str) -> Option<&'a str> {
    let of = |wanted: &str| {
        listed.lines().take(10_000).find_map(|line| {
            let (commit, name) = line.split_once('\t')?;
            (name == wanted && is_commit(commit)).then_some(commit)
        })
    };
    [
        asked.to_owned(),
        format!("refs/heads/{asked}"),
        format!("refs/tags/{asked}^{{}}"),
        format!("refs/tags/{asked}"),
        format!("{asked}^{{}}"),
    ]
    .iter()
    .find_map(|wanted| of(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of kernel.org's own, cut down.
    const LIST: &str = r#"{
      "latest_stable": { "version": "7.3.4" },
      "releases": [
        { "iseol": false, "version": "7.4-rc2", "moniker": "mainline",
          "source": "https://git.kernel.org/torvalds/t/linux-7.4-rc2.tar.gz",
          "pgp": null, "released": { "timestamp": 1, "isodate": "2026-11-22" } },
        { "iseol": false, "version": "7.3.4", "moniker": "stable" },
        { "iseol": true, "version": "7.2.13", "moniker": "stable" },
        { "iseol": false, "version": "6.12.117", "moniker": "longterm" },
        { "iseol": false, "version": "6.6.140", "moniker": "longterm" },
        { "iseol": true, "version": "6.18.9", "moniker": "longterm" },
        { "iseol": false, "version": "next-20261125", "moniker": "linux-next" }
      ] }"#;

    fn newest(list: &str, channel: &str) -> Result<String, String> {
        let list = Releases::read(list)?;
        let channel: Channel = channel.parse().unwrap();
        Ok(list.newest(&channel)?.to_string())
    }

    #[test]
    fn each_channel_leads_to_its_release() {
        for (channel, version) in [
            ("latest-stable", "7.3.4"),
            ("latest-mainline", "7.4-rc2"),
            // Not 6.18.9, which nobody keeps any more.
            ("longterm", "6.12.117"),
            ("6.6.y", "6.6.140"),
            ("7.2.y", "7.2.13"),
        ] {
            assert_eq!(newest(LIST, channel).unwrap(), version, "{channel}");
        }
        // A candidate is not a release of its series.
        assert_eq!(newest(LIST, "7.4.y").unwrap_err(), NONE);
        let untold = LIST.replace("latest_stable", "latest");
        assert_eq!(newest(&untold, "latest-stable").unwrap(), "7.3.4");
    }

    #[test]
    fn a_list_that_lies_names_no_kernel() {
        for (list, said) in [
            (
                LIST.replace("{ \"version\": \"7.3.4\" }", "{ \"version\": \"9.9.9\" }"),
                "does not have",
            ),
            (LIST.replace("7.3.4", "../../etc"), "not one of a release"),
            (LIST.replace("7.3.4", "7.3.4-rc1"), "not one of a release"),
            ("{}".to_owned(), "missing field"),
            ("[]".to_owned(), "not a list of releases"),
            ("<html>".to_owned(), "not a list of releases"),
            ("[".repeat(100_000), "not a list of releases"),
        ] {
            let error = newest(&list, "latest-stable").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn channels_are_words() {
        for text in ["latest-stable", "latest-mainline", "longterm", "6.12.y"] {
            assert_eq!(text.parse::<Channel>().unwrap().to_string(), text);
        }
        for text in [
            "latest", "stable", "6.y", "6.12", "+6.12.y", "6.12.y.y", ".12.y", "",
        ] {
            assert!(text.parse::<Channel>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_branch_comes_before_a_tag_and_a_tag_s_commit_before_the_tag() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(40));
        let listed = format!("{a}\trefs/heads/x/v1\n{b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\n");
        assert_eq!(tip(&listed, "v1"), Some(&*c));
        let both = format!("{listed}{a}\trefs/heads/v1\n");
        assert_eq!(tip(&both, "v1"), Some(&*a));
        assert_eq!(tip(&both, "refs/heads/v1"), Some(&*a));
        assert_eq!(tip("--upload-pack=x\tv1\nnonsense\n", "v1"), None);
    }
}
