//! Reads which Debian mirrors and suites a host has configured, from apt's
//! one-line and deb822 files, so that further suites come from the same place.

use std::path::Path;

/// One archive that a host uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Its address, without a trailing slash.
    pub(super) uri: String,
    /// The suites configured for it.
    pub(super) suites: Vec<String>,
}

/// The archives in the host's apt configuration under `root` (`/etc/apt`).
pub(super) fn configured(root: &Path) -> Vec<Mirror> {
    let mut mirrors = parse_list(&read(&root.join("sources.list")));
    let mut parts: Vec<_> = std::fs::read_dir(root.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    parts.sort();
    for part in parts {
        match part.extension().and_then(|extension| extension.to_str()) {
            Some("list") => mirrors.extend(parse_list(&read(&part))),
            Some("sources") => mirrors.extend(parse_deb822(&read(&part))),
            _ => {}
        }
    }
    mirrors
}

/// The mirror of Debian proper, and the one of its security suites.
pub(super) fn debian(mirrors: &[Mirror]) -> (Option<&Mirror>, Option<&Mirror>) {
    let with_path = |name: &str| {
        mirrors
            .iter()
            .find(|mirror| mirror.uri.rsplit('/').next() == Some(name))
    };
    (with_path("debian"), with_path("debian-security"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `deb [options] URI SUITE COMPONENT…`
fn parse_list(text: &str) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some(rest) = line.trim().strip_prefix("deb ") else {
            continue;
        };
        let rest = rest.trim();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            mirrors.push(Mirror {
                uri: uri.trim_end_matches('/').to_owned(),
                suites: vec![suite.to_owned()],
            });
        }
    }
    mirrors
}

/// Paragraphs of `Key: value` lines, continued by indented ones.
fn parse_deb822(text: &str) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            mirrors.extend(from_paragraph(&paragraph));
            paragraph.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            paragraph.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    mirrors
}

fn from_paragraph(paragraph: &[(String, String)]) -> Vec<Mirror> {
    let words = |key: &str| -> Vec<String> {
        paragraph
            .iter()
            .filter(|(name, _)| name == key)
            .flat_map(|(_, value)| value.split_whitespace().map(str::to_owned))
            .collect()
    };
    let enabled = !words("enabled").iter().any(|word| word == "no");
    if !enabled || !words("types").iter().any(|word| word == "deb") {
        return Vec::new();
    }
    let suites = words("suites");
    words("uris")
        .into_iter()
        .map(|uri| Mirror {
            uri: uri.trim_end_matches('/').to_owned(),
            suites: suites.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let root = tempfile::tempdir().unwrap();
        let parts = root.path().join("sources.list.d");
        std::fs::create_dir(&parts).unwrap();
        let list = "# deb http://old.example/debian woody main\n\
             deb [arch=amd64 signed-by=/x] http://one.example/debian/ bookworm main # note\n\
             deb-src http://one.example/debian bookworm main\n";
        std::fs::write(root.path().join("sources.list"), list).unwrap();
        let deb822 = "Types: deb\n# comment\nURIs: http://two.example/debian-security\n\
             Suites: bookworm-security\n  extra\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\n";
        std::fs::write(parts.join("debian.sources"), deb822).unwrap();
        std::fs::write(parts.join("debian.sources.bak"), deb822).unwrap();
        let found = configured(root.path());
        let (main, security) = debian(&found);
        assert_eq!(main.unwrap().uri, "http://one.example/debian");
        assert_eq!(security.unwrap().suites, ["bookworm-security", "extra"]);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
