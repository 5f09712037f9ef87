//! A run in parts, for machines that share the work: which arms and workloads
//! each part takes. A part alone has no verdict, since its controls may be in
//! another one; `kvet join` makes one record of all and judges that. Pure: the
//! same plan always comes apart in the same way, on whatever machine.

use std::collections::HashSet;

use super::part::{MOST_PARTS, Part};
use super::plan::{Arm, PartOf, Plan};

/// What a kernel weighs, in trials. A build from nothing takes minutes where a
/// trial takes seconds.
const BUILD: u64 = 30;

/// Trials that stay together: pairs of an arm and a workload, by their places in
/// the plan.
#[derive(Debug, Clone)]
struct Unit {
    pairs: Vec<(usize, usize)>,
    /// Whether it may be taken apart further.
    divisible: bool,
}

impl Unit {
    fn weight(&self, plan: &Plan, kernels: &[usize]) -> u64 {
        let arms: HashSet<usize> = self.pairs.iter().map(|pair| pair.0).collect();
        let built: HashSet<usize> = arms.iter().map(|arm| kernels[*arm]).collect();
        let trials = self.pairs.iter().map(|pair| plan.arms[pair.0].trials);
        built.len() as u64 * BUILD + trials.map(u64::from).sum::<u64>()
    }

    /// Two halves: of its arms if there are several, of its workloads otherwise.
    fn halves(&self) -> Option<[Self; 2]> {
        if !self.divisible || self.pairs.len() < 2 {
            return None;
        }
        let mut at = self.pairs.len() / 2;
        if self.pairs[0].0 != self.pairs[self.pairs.len() - 1].0 {
            let middle = self.pairs[at].0;
            let first = self.pairs.iter().position(|pair| pair.0 == middle);
            let after = self.pairs.iter().rposition(|pair| pair.0 == middle);
            at = match (first, after) {
                (Some(first), _) if first > 0 => first,
                (_, Some(last)) => last + 1,
                _ => at,
            };
        }
        let (one, other) = self.pairs.split_at(at);
        Some([one, other].map(|pairs| Self {
            pairs: pairs.to_vec(),
            divisible: true,
        }))
    }
}

impl Plan {
    /// Why this plan's trials must all be of one part, if they must.
    #[must_use]
    pub fn indivisible(&self) -> Option<&'static str> {
        let sequential = "trials go on until the verdict is settled, which only a run with all \
             arms can tell; `--trials N` makes parts";
        self.rules.until.map(|_| sequential)
    }

    /// How many parts suit this plan: one for each kernel, since a kernel is then
    /// built once. Arms that are measured against each other need one machine.
    #[must_use]
    pub fn natural_parts(&self) -> u32 {
        if self.indivisible().is_some() || !self.compare.is_empty() {
            return 1;
        }
        let kernels: HashSet<usize> = self.kernels().into_iter().collect();
        u32::try_from(kernels.len()).map_or(MOST_PARTS, |kernels| kernels.min(MOST_PARTS))
    }

    /// The plan in so many parts, or as many as it comes apart into if these are
    /// fewer; of about the same weight each, whole kernels wherever possible.
    #[must_use]
    pub fn parts(&self, wanted: u32) -> Vec<Self> {
        let wanted = wanted.clamp(1, MOST_PARTS) as usize;
        let kernels = self.kernels();
        let mut units = self.units(&kernels);
        while units.len() < wanted {
            let heaviest = units
                .iter()
                .enumerate()
                .filter(|(_, unit)| unit.halves().is_some())
                .max_by_key(|(at, unit)| (unit.weight(self, &kernels), std::cmp::Reverse(*at)))
                .map(|(at, _)| at);
            let Some(at) = heaviest else { break };
            if let Some(halves) = units[at].halves() {
                units.splice(at..=at, halves);
            }
        }
        let mut bins = packed(units, wanted, |unit| unit.weight(self, &kernels));
        bins.sort_by_key(|bin| bin.iter().flat_map(|unit| unit.pairs.clone()).min());
        let of = u32::try_from(bins.len()).unwrap_or(MOST_PARTS);
        let numbered = (1..).zip(&bins);
        numbered
            .map(|(number, bin)| self.only(bin, Part { number, of }))
            .collect()
    }

    /// For each arm, the first one with the same kernel.
    fn kernels(&self) -> Vec<usize> {
        let same = |arm: &Arm| {
            self.arms
                .iter()
                .position(|other| other.recipe == arm.recipe)
        };
        self.arms.iter().map(|arm| same(arm).unwrap_or(0)).collect()
    }

    /// The trials, in units that stay together at first.
    fn units(&self, kernels: &[usize]) -> Vec<Unit> {
        let pairs: Vec<(usize, usize)> = self
            .arms
            .iter()
            .enumerate()
            .flat_map(|(at, arm)| {
                let named = self.workloads.iter().enumerate();
                let of_arm =
                    named.filter(|(_, planned)| arm.workloads.contains(&planned.workload.name));
                of_arm.map(move |(workload, _)| (at, workload))
            })
            .collect();
        let (keys, divisible): (Vec<usize>, bool) = if self.indivisible().is_some() {
            (vec![0; pairs.len()], false)
        } else if self.compare.is_empty() {
            (pairs.iter().map(|pair| kernels[pair.0]).collect(), true)
        } else {
            // What is compared is measured on one machine, whatever its speed.
            (pairs.iter().map(|pair| pair.1).collect(), false)
        };
        let mut order = keys.clone();
        order.sort_unstable();
        order.dedup();
        let unit = |key: usize| Unit {
            pairs: (pairs.iter().zip(&keys))
                .filter(|(_, of)| **of == key)
                .map(|(pair, _)| *pair)
                .collect(),
            divisible,
        };
        order.into_iter().map(unit).collect()
    }

    /// The plan with these trials alone.
    fn only(&self, units: &[Unit], part: Part) -> Self {
        let pairs: HashSet<(usize, usize)> =
            units.iter().flat_map(|unit| unit.pairs.clone()).collect();
        let mut plan = self.clone();
        plan.arms = (self.arms.iter().enumerate())
            .filter_map(|(at, arm)| {
                let mut arm = arm.clone();
                arm.workloads.retain(|name| {
                    let mut all = self.workloads.iter();
                    let place = all.position(|planned| planned.workload.name == *name);
                    place.is_some_and(|place| pairs.contains(&(at, place)))
                });
                (!arm.workloads.is_empty()).then_some(arm)
            })
            .collect();
        plan.part_of = Some(Box::new(PartOf {
            part,
            whole: self.clone(),
        }));
        plan
    }
}

/// The units in at most so many bins: the heaviest first, each into the lightest
/// bin. With as many units as bins none stays empty.
fn packed(mut units: Vec<Unit>, bins: usize, weight: impl Fn(&Unit) -> u64) -> Vec<Vec<Unit>> {
    units.sort_by_key(|unit| std::cmp::Reverse(weight(unit)));
    let count = bins.min(units.len()).max(1);
    let mut packed = vec![(0, Vec::new()); count];
    for unit in units {
        let lightest = packed
            .iter_mut()
            .min_by_key(|(load, of)| (*load, Vec::len(of)));
        if let Some((load, of)) = lightest {
            *load += weight(&unit);
            of.push(unit);
        }
    }
    packed.into_iter().map(|(_, of)| of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Choice;

    fn plan(job: &str) -> Plan {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("kconfigs")).unwrap();
        std::fs::create_dir_all(root.path().join("patches/cure")).unwrap();
        std::fs::write(root.path().join("kconfigs/base.config"), "").unwrap();
        let path = root.path().join("job.yaml");
        std::fs::write(&path, job).unwrap();
        Plan::load(&path, &Choice::default()).unwrap()
    }

    const JOB: &str = "\
name: j
kernel: { source: { debian: linux-source-7.3 }, config: [base] }
workload: [evict-truncate, writeback-storm, quota]
trials: 4
arms:
  stock: { control: true }
  again: { control: true, workloads: [quota] }
  fixed: { patches: [cure] }
";

    /// Each part as `arm:workload …`.
    fn shown(parts: &[Plan]) -> Vec<String> {
        let pairs = |plan: &Plan| {
            let pairs = plan.arms.iter().flat_map(|arm| {
                let named = arm.workloads.iter();
                named.map(|workload| format!("{}:{workload}", arm.name))
            });
            pairs.collect::<Vec<_>>().join(" ")
        };
        parts.iter().map(pairs).collect()
    }

    #[test]
    fn a_kernel_is_in_one_part_until_more_are_asked_for() {
        let plan = plan(JOB);
        assert_eq!(plan.natural_parts(), 2);
        let stock = "stock:evict-truncate stock:writeback-storm stock:quota again:quota";
        let fixed = "fixed:evict-truncate fixed:writeback-storm fixed:quota";
        assert_eq!(shown(&plan.parts(2)), [stock, fixed]);
        assert_eq!(shown(&plan.parts(1)), [format!("{stock} {fixed}")]);
        // The control's kernel has the most trials and two arms.
        let three = shown(&plan.parts(3));
        assert_eq!(
            three,
            [
                "stock:evict-truncate stock:writeback-storm stock:quota",
                "again:quota",
                fixed
            ]
        );
    }

    #[test]
    fn no_trial_is_lost_or_done_twice_however_many_parts_there_are() {
        let plan = plan(JOB);
        let mut all: Vec<String> = shown(std::slice::from_ref(&plan))
            .iter()
            .flat_map(|part| part.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        all.sort();
        for wanted in 1..12 {
            let parts = plan.parts(wanted);
            assert_eq!(parts.len(), wanted.min(7) as usize);
            let mut found: Vec<String> = shown(&parts)
                .iter()
                .flat_map(|part| part.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .collect();
            found.sort();
            assert_eq!(found, all, "{wanted} parts");
            for (at, part) in (1..).zip(&parts) {
                let of = part.part_of.as_ref().unwrap();
                assert_eq!(of.part.number, at);
                assert_eq!(of.part.of as usize, parts.len());
                assert_eq!(of.whole.arms.len(), 3);
                assert!(of.whole.part_of.is_none());
            }
        }
    }

    #[test]
    fn what_needs_one_machine_stays_on_one() {
        let until = plan(&JOB.replace("trials: 4", "trials: until 95%"));
        assert!(until.indivisible().is_some());
        assert_eq!((until.natural_parts(), until.parts(5).len()), (1, 1));
        let compare = "compare: [{ name: n, counter: c }]\n";
        let measured = plan(&format!("{JOB}{compare}"));
        assert_eq!(measured.natural_parts(), 1);
        // Each workload with all arms that have it.
        assert_eq!(
            shown(&measured.parts(9)),
            [
                "stock:evict-truncate fixed:evict-truncate",
                "stock:writeback-storm fixed:writeback-storm",
                "stock:quota again:quota fixed:quota"
            ]
        );
    }

    #[test]
    fn a_part_is_written_as_a_fraction() {
        let part: Part = "2/6".parse().unwrap();
        assert_eq!((part.number, part.of), (2, 6));
        assert_eq!(part.to_string(), "2/6");
        for wrong in ["", "2", "0/3", "4/3", "1/257", "-1/3", "1/3/4", "a/b"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
