//! How much memory there is for another guest: what the host has, and what the
//! control groups around kvet (a container's, a Slurm job's) leave of it.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Where control groups are mounted, by the second version's rules.
const GROUPS: &str = "/sys/fs/cgroup";

/// The names of a group's files in one version of control groups.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` for file pages that nobody has used lately.
    idle: &'static str,
}

const FIRST: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    idle: "total_inactive_file",
};
const SECOND: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    idle: "inactive_file",
};

/// Bytes of memory that programs can have without others being moved out.
#[must_use]
pub fn free() -> Option<u64> {
    let host = of_host(&read_to_string("/proc/meminfo").ok()?)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(host.min(of_groups(&groups, Path::new(GROUPS)).unwrap_or(u64::MAX)))
}

fn of_host(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// What the tightest group leaves, if any has a limit. `groups` is what
/// `/proc/self/cgroup` says: a line for each hierarchy, `4:memory:/a/b`, and
/// `0::/a/b` for the second version's.
fn of_groups(groups: &str, mounted: &Path) -> Option<u64> {
    let lines = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let group = group.trim_start_matches('/');
        if controllers.is_empty() {
            Some((mounted.to_owned(), group, SECOND))
        } else if controllers.split(',').any(|one| one == "memory") {
            Some((mounted.join("memory"), group, FIRST))
        } else {
            None
        }
    });
    let all = lines.flat_map(|(root, group, files)| {
        // A group's limit holds for all below it. Where the mount shows only what
        // is below kvet's own, that one is at its root.
        let groups: Vec<PathBuf> = Path::new(group)
            .ancestors()
            .map(|group| root.join(group))
            .collect();
        groups
            .into_iter()
            .filter_map(move |group| left(&group, &files))
    });
    all.min()
}

/// What one group leaves, if it has a limit. Of its file pages those that were not
/// used lately are given up first.
fn left(group: &Path, files: &Files) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        // `max` is no number: no limit.
        let text = read_to_string(group.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let (limit, used) = (number(files.limit)?, number(files.used)?);
    let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let idle = stat.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == files.idle).then(|| value.parse::<u64>().ok())?
    });
    Some(limit.saturating_sub(used.saturating_sub(idle.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group with a limit, what it uses, and its idle file pages.
    fn group(at: &Path, files: &Files, limit: &str, used: u64, idle: u64) {
        std::fs::create_dir_all(at).unwrap();
        std::fs::write(at.join(files.limit), format!("{limit}\n")).unwrap();
        std::fs::write(at.join(files.used), format!("{used}\n")).unwrap();
        let stat = format!("anon 5\n{} {idle}\nfile 7\n", files.idle);
        std::fs::write(at.join("memory.stat"), stat).unwrap();
    }

    #[test]
    fn the_host_says_what_it_has() {
        let text = "MemTotal:       100 kB\nMemFree: 1 kB\nMemAvailable:    64 kB\n";
        assert_eq!(of_host(text), Some(64 << 10));
        assert_eq!(of_host("MemTotal: 100 kB\n"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        group(&home.join("a/b"), &SECOND, "max", 70, 0);
        group(&home.join("a"), &SECOND, "100", 80, 30);
        group(home, &SECOND, "1000", 80, 30);
        assert_eq!(of_groups("0::/a/b\n", home), Some(50));
        group(&home.join("a/b"), &SECOND, "60", 70, 0);
        assert_eq!(of_groups("0::/a/b\n", home), Some(0));
        assert_eq!(of_groups("0::/\n", home), Some(950));
    }

    #[test]
    fn both_versions_are_read() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        group(&home.join("memory"), &FIRST, "200", 100, 20);
        // A container may not see the group by its name.
        let lines = "5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/y\n";
        assert_eq!(of_groups(lines, home), Some(120));
        assert_eq!(of_groups("5:cpu,cpuacct:/x\n", home), None);
        assert_eq!(of_groups("", home), None);
    }
}
