//! Who does what: the items that wait, that are out on a host, that are done;
//! what is known of each host. Pure: what happened goes in, what may be done
//! next comes out. An item is done once, whatever hosts die or come back.
//!
//! Trials that are compared run on hosts of one kind: those of a workload with
//! the same number (a block: one of each arm) go where the first of them went,
//! or to a host like it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use indexmap::IndexMap;

use super::batch::ItemKey;

/// So often an item goes out before its hosts are not to blame any more.
pub(super) const MOST_TIMES: u32 = 5;

/// So many attempts in a row that the harness failed on a host, with none between
/// that went well, and it gets no more.
const MOST_FAULTS: u32 = 3;

/// Trials that are compared with each other: a workload and a number.
pub(super) type Block = (String, u32);

/// A batch or a session: whoever has items.
pub(super) type Task = u64;

#[derive(Debug)]
struct Entry {
    block: Option<Block>,
    /// Hosts that had it and did not finish it, or not well.
    avoid: BTreeSet<String>,
    /// How often it went out.
    times: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waits,
    Out(Task),
    Done,
}

/// What is known of a host.
#[derive(Debug, Default)]
struct Host {
    kind: Option<String>,
    /// Why it gets no more items.
    out: Option<String>,
    /// Attempts in a row that the harness failed.
    faults: u32,
}

/// Items that can go out together, and where to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) keys: Vec<ItemKey>,
    /// The kind that their hosts must be of, if that is settled.
    pub(super) kind: Option<String>,
    /// Hosts that must not have them.
    pub(super) not_on: Vec<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    items: IndexMap<ItemKey, Entry>,
    queue: VecDeque<ItemKey>,
    hosts: BTreeMap<String, Host>,
    /// Where a block's trials run; `None` while the first of them are out and
    /// their host is not known.
    kinds: HashMap<Block, Option<String>>,
    tasks: HashMap<Task, BTreeSet<ItemKey>>,
}

impl Ledger {
    /// An item that is to be done. `avoid`: hosts that failed it before.
    pub(super) fn add(&mut self, key: ItemKey, block: Option<Block>, avoid: BTreeSet<String>) {
        if self.items.contains_key(&key) {
            return;
        }
        self.queue.push_back(key.clone());
        let entry = Entry {
            block,
            avoid,
            times: 0,
            state: State::Waits,
        };
        self.items.insert(key, entry);
    }

    /// Items for the host `name` of this kind, at most `most`.
    pub(super) fn take(&mut self, task: Task, name: &str, most: usize) -> Vec<ItemKey> {
        let Some(kind) = self.usable_kind(name) else {
            return Vec::new();
        };
        let others: Vec<&str> = self
            .hosts
            .iter()
            .filter(|(other, host)| *other != name && host.out.is_none())
            .map(|(other, _)| &**other)
            .collect();
        let mut taken = Vec::new();
        for key in &self.queue {
            if taken.len() >= most {
                break;
            }
            let entry = &self.items[key];
            let settled = entry.block.as_ref().and_then(|block| self.kinds.get(block));
            let fits = match settled {
                None => true,
                Some(Some(settled)) => *settled == kind,
                Some(None) => false,
            };
            // The host that failed it may try again if there is no other.
            let better = |other: &&str| {
                !entry.avoid.contains(*other)
                    && self.hosts[*other].kind.as_deref() == Some(kind.as_str())
            };
            let elsewhere = entry.avoid.contains(name) && others.iter().any(better);
            if fits && !elsewhere {
                taken.push(key.clone());
                if let Some(block) = &entry.block {
                    self.kinds
                        .entry(block.clone())
                        .or_insert_with(|| Some(kind.clone()));
                }
            }
        }
        self.out_with(task, &taken);
        taken
    }

    /// Items that can go out as one batch to a host that is not known yet: about
    /// `most`, since the trials of a block stay together.
    pub(super) fn cut(&mut self, task: Task, most: usize) -> Option<Cut> {
        let mut keys: Vec<ItemKey> = Vec::new();
        let mut blocks: BTreeSet<&Block> = BTreeSet::new();
        let mut wanted: Option<(Option<String>, BTreeSet<String>)> = None;
        for key in &self.queue {
            let entry = &self.items[key];
            let settled = entry.block.as_ref().and_then(|block| self.kinds.get(block));
            if settled.is_some_and(Option::is_none) {
                continue;
            }
            let need = (settled.cloned().flatten(), entry.avoid.clone());
            if wanted.as_ref().is_some_and(|wanted| *wanted != need) {
                continue;
            }
            let together = entry.block.as_ref().is_some_and(|b| blocks.contains(b));
            if keys.len() >= most && !together {
                continue;
            }
            wanted = Some(need);
            blocks.extend(&entry.block);
            keys.push(key.clone());
        }
        let (kind, avoid) = wanted?;
        let mut not_on = self.unusable();
        if let Some(kind) = &kind {
            not_on.extend(self.of_other_kinds(kind));
        }
        // What failed it may try again if there is no other.
        let avoided: BTreeSet<String> = avoid.difference(&not_on).cloned().collect();
        let left = self.hosts.keys().filter(|name| !not_on.contains(*name));
        if left.count() > avoided.len() {
            not_on.extend(avoided);
        }
        let blocks: Vec<Block> = blocks.into_iter().cloned().collect();
        for block in blocks {
            self.kinds.entry(block).or_insert_with(|| kind.clone());
        }
        self.out_with(task, &keys);
        Some(Cut {
            keys,
            kind,
            not_on: not_on.into_iter().collect(),
        })
    }

    /// Items that a task had before the driver was killed.
    pub(super) fn adopt(&mut self, task: Task, keys: &[ItemKey]) {
        self.out_with(task, keys);
    }

    fn out_with(&mut self, task: Task, keys: &[ItemKey]) {
        let taken: BTreeSet<&ItemKey> = keys.iter().collect();
        self.queue.retain(|key| !taken.contains(key));
        for key in keys {
            if let Some(entry) = self.items.get_mut(key)
                && entry.state == State::Waits
            {
                entry.state = State::Out(task);
                entry.times += 1;
                self.tasks.entry(task).or_default().insert(key.clone());
            }
        }
    }

    /// A host has shown itself, and that it has a task.
    pub(super) fn began(&mut self, task: Option<Task>, name: &str, kind: &str) {
        let host = self.hosts.entry(name.to_owned()).or_default();
        host.kind = Some(kind.to_owned());
        let of_task = task.and_then(|task| self.tasks.get(&task));
        for key in of_task.into_iter().flatten() {
            if let Some(block) = &self.items[key].block {
                let settled = self.kinds.entry(block.clone()).or_default();
                settled.get_or_insert_with(|| kind.to_owned());
            }
        }
    }

    /// Trials of a block ran on hosts of this kind, before this driver began.
    pub(super) fn settle(&mut self, block: Block, kind: String) {
        self.kinds.entry(block).or_insert(Some(kind));
    }

    /// A host that is known of, although it has not shown itself.
    pub(super) fn know(&mut self, name: &str) {
        self.hosts.entry(name.to_owned()).or_default();
    }

    /// An item's result is in the record. `false` if it was before.
    pub(super) fn done(&mut self, key: &ItemKey) -> bool {
        let Some(entry) = self.items.get_mut(key) else {
            return false;
        };
        let before = std::mem::replace(&mut entry.state, State::Done);
        match before {
            State::Done => return false,
            State::Out(task) => {
                if let Some(keys) = self.tasks.get_mut(&task) {
                    keys.remove(key);
                }
            }
            State::Waits => self.queue.retain(|waiting| waiting != key),
        }
        true
    }

    /// A task came to its end, however: what it had and did not do waits again.
    /// Those that went out too often are not given out any more; they come back
    /// with the hosts that had them.
    pub(super) fn over(&mut self, task: Task, host: Option<&str>) -> Vec<(ItemKey, Vec<String>)> {
        let mut given_up = Vec::new();
        for key in self.tasks.remove(&task).unwrap_or_default() {
            let Some(entry) = self.items.get_mut(&key) else {
                continue;
            };
            entry.avoid.extend(host.map(str::to_owned));
            if entry.times >= MOST_TIMES {
                entry.state = State::Done;
                given_up.push((key, entry.avoid.iter().cloned().collect()));
                continue;
            }
            entry.state = State::Waits;
            if let Some(block) = &entry.block
                && self.kinds.get(block).is_some_and(Option::is_none)
            {
                // Its host never said what it is.
                self.kinds.remove(block);
            }
            self.queue.push_front(key);
        }
        given_up
    }

    /// A task was none: nobody began it, so that its items wait as if they had never
    /// gone out.
    pub(super) fn take_back(&mut self, task: Task) {
        for key in self.tasks.get(&task).into_iter().flatten() {
            if let Some(entry) = self.items.get_mut(key) {
                entry.times = entry.times.saturating_sub(1);
            }
        }
        let given_up = self.over(task, None);
        debug_assert!(given_up.is_empty(), "what went out is below the limit");
    }

    /// What a task still has.
    pub(super) fn of_task(&self, task: Task) -> usize {
        self.tasks.get(&task).map_or(0, BTreeSet::len)
    }

    /// A host gets no more items. `false` if it got none before.
    pub(super) fn leave_out(&mut self, name: &str, why: &str) -> bool {
        let host = self.hosts.entry(name.to_owned()).or_default();
        let first = host.out.is_none();
        host.out.get_or_insert_with(|| why.to_owned());
        first
    }

    /// An attempt went through on a host, or the harness failed it there. What is
    /// to be told if that was once too often.
    pub(super) fn attempted(&mut self, name: &str, fault: Option<&str>) -> Option<String> {
        let others = self
            .hosts
            .iter()
            .any(|(other, host)| other != name && host.out.is_none());
        let host = self.hosts.entry(name.to_owned()).or_default();
        let Some(fault) = fault else {
            host.faults = 0;
            return None;
        };
        host.faults += 1;
        if host.faults < MOST_FAULTS || !others || host.out.is_some() {
            return None;
        }
        let why = format!(
            "{} attempts in a row failed there, the last one: {fault}",
            host.faults
        );
        host.out = Some(why.clone());
        Some(why)
    }

    fn usable_kind(&self, name: &str) -> Option<String> {
        let host = self.hosts.get(name)?;
        host.out.is_none().then(|| host.kind.clone()).flatten()
    }

    fn unusable(&self) -> BTreeSet<String> {
        let out = self.hosts.iter().filter(|(_, host)| host.out.is_some());
        out.map(|(name, _)| name.clone()).collect()
    }

    fn of_other_kinds(&self, kind: &str) -> Vec<String> {
        let other = |host: &Host| host.kind.as_deref().is_some_and(|other| other != kind);
        let hosts = self.hosts.iter().filter(|(_, host)| other(host));
        hosts.map(|(name, _)| name.clone()).collect()
    }

    /// How many hosts are known that may have items.
    pub(super) fn usable(&self) -> usize {
        self.hosts
            .values()
            .filter(|host| host.out.is_none())
            .count()
    }

    /// Why hosts are left out, by name.
    pub(super) fn left_out(&self) -> Vec<(String, String)> {
        let out = |(name, host): (&String, &Host)| Some((name.clone(), host.out.clone()?));
        self.hosts.iter().filter_map(out).collect()
    }

    /// Items that wait for a kind of which no host is left: they come back, with
    /// that kind, and are not given out any more. A host that has not shown itself
    /// yet may be of any kind.
    pub(super) fn stranded(&mut self) -> Vec<(ItemKey, String)> {
        let unknown = |host: &Host| host.out.is_none() && host.kind.is_none();
        if self.hosts.values().any(unknown) {
            return Vec::new();
        }
        let kinds: BTreeSet<&str> = self
            .hosts
            .values()
            .filter(|host| host.out.is_none())
            .filter_map(|host| host.kind.as_deref())
            .collect();
        let mut stranded = Vec::new();
        for key in &self.queue {
            let block = self.items[key].block.as_ref();
            let settled = block.and_then(|block| self.kinds.get(block)?.as_deref());
            if let Some(kind) = settled
                && !kinds.contains(kind)
            {
                stranded.push((key.clone(), kind.to_owned()));
            }
        }
        for (key, _) in &stranded {
            self.done(key);
        }
        stranded
    }

    /// How many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether an item is known and not done.
    pub(super) fn is_open(&self, key: &ItemKey) -> bool {
        self.items
            .get(key)
            .is_some_and(|entry| entry.state != State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(arm: &str, number: u32) -> ItemKey {
        ItemKey::try_from(format!("arms@{arm}@trials@w@{number}@1")).unwrap()
    }

    /// Control and fix in turn, as they are scheduled.
    fn ledger(numbers: u32) -> Ledger {
        let mut ledger = Ledger::default();
        for number in 1..=numbers {
            for arm in ["stock", "fixed"] {
                let block = Some(("w".to_owned(), number));
                ledger.add(key(arm, number), block, BTreeSet::new());
            }
        }
        ledger
    }

    #[test]
    fn every_item_is_done_once_whatever_becomes_of_its_tasks() {
        let mut ledger = ledger(3);
        let cut = ledger.cut(1, 4).unwrap();
        assert_eq!(cut.keys.len(), 4);
        ledger.began(Some(1), "n1", "k");
        assert!(ledger.done(&cut.keys[0]));
        // The node dies; what it had not done waits again, first of all.
        assert!(ledger.over(1, Some("n1")).is_empty());
        assert_eq!(ledger.waiting(), 5);
        ledger.leave_out("n1", "dead");
        let again = ledger.cut(2, 10).unwrap();
        assert_eq!(again.not_on, ["n1"]);
        // It comes back with what was done elsewhere meanwhile.
        assert!(again.keys.iter().all(|key| ledger.done(key)));
        assert!(!ledger.done(&cut.keys[1]));
        let rest = ledger.cut(3, 10).unwrap();
        assert!(rest.keys.iter().all(|key| ledger.done(key)));
        assert_eq!((ledger.waiting(), ledger.cut(4, 10)), (0, None));
    }

    #[test]
    fn a_late_result_of_an_item_that_waits_again_counts() {
        let mut ledger = ledger(1);
        let cut = ledger.cut(1, 2).unwrap();
        ledger.over(1, Some("n1"));
        assert!(ledger.done(&cut.keys[0]));
        assert_eq!(ledger.waiting(), 1);
        assert_eq!(ledger.cut(2, 2).unwrap().keys, cut.keys[1..]);
    }

    #[test]
    fn the_trials_of_a_block_go_out_together() {
        let mut ledger = ledger(3);
        // Three would cut the second block in two.
        assert_eq!(ledger.cut(1, 3).unwrap().keys.len(), 4);
        assert_eq!(ledger.cut(2, 3).unwrap().keys.len(), 2);
    }

    #[test]
    fn a_fix_runs_where_its_control_ran() {
        let mut ledger = ledger(2);
        ledger.know("old");
        ledger.know("new");
        ledger.began(None, "old", "QEMU 7");
        ledger.began(None, "new", "QEMU 10");
        let first = ledger.take(1, "old", 1);
        assert_eq!(first, [key("stock", 1)]);
        // Its partner is not for a host of another kind.
        let second = ledger.take(2, "new", 9);
        assert_eq!(second, [key("stock", 2), key("fixed", 2)]);
        assert_eq!(ledger.take(1, "old", 9), [key("fixed", 1)]);
    }

    #[test]
    fn a_resumed_run_goes_on_with_the_kind_that_it_began_with() {
        let mut ledger = ledger(2);
        ledger.settle(("w".to_owned(), 1), "QEMU 7".to_owned());
        ledger.began(None, "old", "QEMU 7");
        ledger.began(None, "new", "QEMU 10");
        assert_eq!(ledger.take(1, "new", 9), [key("stock", 2), key("fixed", 2)]);
        assert_eq!(ledger.take(2, "old", 9), [key("stock", 1), key("fixed", 1)]);
    }

    #[test]
    fn a_batch_waits_until_it_is_known_where_the_control_runs() {
        let mut ledger = Ledger::default();
        let block = || Some(("w".to_owned(), 1));
        ledger.add(key("stock", 1), block(), BTreeSet::new());
        ledger.cut(1, 9).unwrap();
        // The other arm's kernel was built later.
        ledger.add(key("fixed", 1), block(), BTreeSet::new());
        assert_eq!(ledger.cut(2, 9), None);
        ledger.began(None, "old", "QEMU 7");
        ledger.began(Some(1), "new", "QEMU 10");
        let cut = ledger.cut(2, 9).unwrap();
        assert_eq!(cut.kind.as_deref(), Some("QEMU 10"));
        assert_eq!(cut.not_on, ["old"]);
    }

    #[test]
    fn what_no_host_of_the_right_kind_can_do_is_not_done_on_another() {
        let mut ledger = ledger(1);
        for (name, kind) in [("old", "QEMU 7"), ("new", "QEMU 10")] {
            ledger.began(None, name, kind);
        }
        assert_eq!(ledger.take(1, "old", 1), [key("stock", 1)]);
        ledger.done(&key("stock", 1));
        ledger.leave_out("old", "it burnt down");
        assert!(ledger.take(2, "new", 9).is_empty());
        let stranded = ledger.stranded();
        assert_eq!(stranded, [(key("fixed", 1), "QEMU 7".to_owned())]);
        assert_eq!(ledger.waiting(), 0);
    }

    #[test]
    fn a_host_that_fails_again_and_again_is_left_out_unless_it_is_the_last() {
        let mut ledger = Ledger::default();
        ledger.began(None, "n1", "k");
        for _ in 0..9 {
            assert_eq!(ledger.attempted("n1", Some("no memory")), None);
        }
        ledger.began(None, "n2", "k");
        assert_eq!(ledger.attempted("n2", Some("x")), None);
        ledger.attempted("n2", None);
        for _ in 0..2 {
            assert_eq!(ledger.attempted("n2", Some("x")), None);
        }
        let why = ledger.attempted("n2", Some("no memory")).unwrap();
        assert!(why.ends_with("the last one: no memory"), "{why}");
        assert_eq!(ledger.usable(), 1);
    }

    #[test]
    fn a_second_attempt_goes_elsewhere_if_it_can() {
        let mut ledger = Ledger::default();
        ledger.began(None, "n1", "k");
        let avoid = BTreeSet::from(["n1".to_owned()]);
        ledger.add(key("stock", 1), None, avoid.clone());
        // There is no other.
        assert_eq!(ledger.take(1, "n1", 1).len(), 1);
        ledger.began(None, "n2", "k");
        ledger.add(key("stock", 2), None, avoid.clone());
        assert!(ledger.take(1, "n1", 1).is_empty());
        assert_eq!(ledger.cut(2, 1).unwrap().not_on, ["n1"]);
    }

    #[test]
    fn what_nobody_began_is_no_journey() {
        let mut ledger = Ledger::default();
        ledger.add(key("stock", 1), None, BTreeSet::new());
        for task in 1..=u64::from(MOST_TIMES) + 1 {
            assert_eq!(ledger.cut(task, 1).unwrap().keys, [key("stock", 1)]);
            ledger.take_back(task);
            assert_eq!(ledger.waiting(), 1);
        }
        // From here on it is counted, from the first.
        for time in 1..=MOST_TIMES {
            let task = 100 + u64::from(time);
            ledger.cut(task, 1).unwrap();
            let given_up = ledger.over(task, Some("n1"));
            assert_eq!(given_up.len(), usize::from(time == MOST_TIMES));
        }
    }

    #[test]
    fn an_item_that_kills_every_host_is_given_up() {
        let mut ledger = Ledger::default();
        ledger.add(key("stock", 1), None, BTreeSet::new());
        for time in 1..=MOST_TIMES {
            ledger.cut(time.into(), 1).unwrap();
            let given_up = ledger.over(time.into(), Some(&format!("n{time}")));
            assert_eq!(given_up.len(), usize::from(time == MOST_TIMES));
        }
        assert_eq!(ledger.waiting(), 0);
    }
}
