//! Where the names in a job lead: beside it, to the user's own things, or to
//! those that come with kvet; with errors that point at the name.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::choice::Choice;
use super::limits;
use super::load::{JobError, Text, What, read_yaml};
use super::planned_workload::PlannedWorkload;
use super::spec::{ArmSpec, Job, WorkloadSpec};
use crate::library::{Found, Kind, Place, Places, is_taken};
use crate::names::did_you_mean;
use crate::rootfs::{Recipe, RootfsError};
use crate::step::Medium;
use crate::workload::{Workload, WorkloadError};

/// The fragment of kernels that fail on request, which self-tests need.
const LKDTM: &str = "lkdtm";

/// The fragment of kernels that count their executed lines.
const COVERAGE: &str = "coverage";
/// The fragment that memory dumps need.
const MEMORY_DUMP: &str = "memory-dump";

/// What the job of a directory of its own is called.
const IN_DIRECTORY: &str = "job.yaml";

/// The file of a job that is given by its path, the path of a directory with a
/// `job.yaml`, or the name of one that lies around here or comes with kvet.
pub fn find(job: &Path, places: &Places) -> Result<PathBuf, JobError> {
    let named = job
        .to_str()
        .filter(|name| !name.is_empty() && !name.contains(['/', '.']));
    let here = std::path::absolute(".").unwrap_or_default();
    // A word may be meant for what comes with kvet: nobody else puts another job here.
    let is_taken = named.is_none() || is_taken(job, &here);
    if is_taken && job.is_dir() && job.join(IN_DIRECTORY).is_file() {
        return Ok(job.join(IN_DIRECTORY));
    }
    let Some(name) = named.filter(|_| !is_taken || !job.is_file()) else {
        return Ok(job.to_owned());
    };
    let places = places.around(&here);
    if let Some(found) = places.find(Kind::Job, name) {
        return Ok(found.path);
    }
    let known = places.list(Kind::Job);
    let known = known.iter().map(|(found, _)| found.name.as_str());
    let help = did_you_mean(name, known).unwrap_or_else(|| {
        "`kvet list jobs` shows all; a job of your own is given by its path".to_owned()
    });
    Err(JobError::Choice(
        format!("there is no job `{name}`"),
        Some(help),
    ))
}

/// What a job is called, whatever else it has.
#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

/// The name of a job that is given by its name or its file. The file need not be
/// a job that could be run.
pub fn name_of(job: &Path) -> Result<String, JobError> {
    let file = if job.is_dir() {
        job.join(IN_DIRECTORY)
    } else {
        job.to_owned()
    };
    let word = job.to_str().filter(|word| !word.contains('/'));
    if let Some(word) = word.filter(|_| !file.is_file()) {
        return Ok(word.to_owned());
    }
    let named: Named = read_yaml(&What::JOB, &file)?;
    Ok(named.name)
}

/// Looks up names, and remembers where each led.
pub(super) struct Names<'a> {
    /// Where they are looked for.
    places: Places,
    /// The job's own directory, for paths.
    here: PathBuf,
    text: &'a Text,
    found: RefCell<Vec<Found>>,
}

impl<'a> Names<'a> {
    /// The names of the job at this path, which are looked for around it first.
    pub(super) fn of(job: &Path, text: &'a Text, places: &Places) -> Self {
        let absolute = std::path::absolute(job).unwrap_or_else(|_| job.to_owned());
        let here = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Self {
            places: places.around(&here),
            here,
            text,
            found: RefCell::default(),
        }
    }

    /// Where the names led that were looked up so far, each once.
    pub(super) fn found(&self) -> Vec<Found> {
        self.found.borrow().clone()
    }

    fn remember(&self, found: &Found) {
        let mut all = self.found.borrow_mut();
        if !all.contains(found) {
            all.push(found.clone());
        }
    }

    /// Where a name of this kind leads, as what is looked up by name or path:
    /// the path of one that lies in a place, else the name itself.
    fn place(&self, kind: Kind, name: &str) -> String {
        let extension = Path::new(name).extension();
        let is_file = extension.is_some_and(|end| end == "yaml" || end == "yml");
        let is_path = name.contains('/') || is_file;
        let found = if is_path {
            Some(Found {
                kind,
                name: name.to_owned(),
                place: Place::Beside,
                path: self.here.join(name),
            })
        } else {
            self.places.find(kind, name)
        };
        let Some(found) = found else {
            return name.to_owned();
        };
        self.remember(&found);
        found.path.display().to_string()
    }

    /// "did you mean …?" for a name that leads nowhere, or all there are.
    fn nearest(&self, kind: Kind, name: &str, expected: String) -> String {
        let known = self.places.list(kind);
        let known = known.iter().map(|(found, _)| found.name.as_str());
        did_you_mean(name, known).unwrap_or(expected)
    }

    fn fragment(&self, name: &str, place: &[&str]) -> Result<PathBuf, JobError> {
        self.find(Kind::Fragment, name, place)
    }

    /// All fragments of an arm: the job's, its own, and what a self-test needs.
    pub(super) fn fragments(
        &self,
        job: &Job,
        arm: &str,
        spec: &ArmSpec,
        choice: &Choice,
    ) -> Result<Vec<PathBuf>, JobError> {
        let mut fragments = Vec::new();
        for (index, fragment) in job.kernel.config.iter().enumerate() {
            let place = ["kernel", "config", &index.to_string()];
            fragments.push(self.fragment(fragment, &place)?);
        }
        for (index, fragment) in spec.config.iter().enumerate() {
            let place = ["arms", arm, "config", &index.to_string()];
            fragments.push(self.fragment(fragment, &place)?);
        }
        let mut needed = Vec::new();
        needed.extend(job.self_test.then_some((LKDTM, "self_test")));
        needed.extend((job.dump || choice.dump).then_some((MEMORY_DUMP, "dump")));
        for (name, key) in needed {
            let fragment = self.fragment(name, &[key])?;
            if !fragments.contains(&fragment) {
                fragments.push(fragment);
            }
        }
        if choice.coverage {
            fragments.push(self.fragment(COVERAGE, &["kernel", "config"])?);
        }
        Ok(fragments)
    }

    /// Where a series lies.
    pub(super) fn patches(&self, name: &str, place: &[&str]) -> Result<PathBuf, JobError> {
        self.find(Kind::Series, name, place)
    }

    /// The job's workloads, each there once, as they are where guests mount this.
    pub(super) fn workloads(
        &self,
        specs: &[WorkloadSpec],
        medium: Medium,
    ) -> Result<Vec<PlannedWorkload>, JobError> {
        let mut found: Vec<PlannedWorkload> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let workload = self.workload(&spec.name, index)?.on(medium)?;
            let place = ["workload", &index.to_string()];
            limits::name(self.text, &place, "a workload", &workload.name)?;
            let same = |other: &PlannedWorkload| other.workload.name == workload.name;
            if found.iter().any(same) {
                return Err(self.text.error(
                    &["workload", &index.to_string()],
                    format!("the workload {} appears twice", workload.name),
                    Some("`trials` repeats it".to_owned()),
                ));
            }
            found.push(PlannedWorkload {
                workload,
                timeout: spec.timeout,
            });
        }
        if found.is_empty() {
            let message = "a job needs at least one workload".to_owned();
            return Err(self.text.error(&["workload"], message, None));
        }
        Ok(found)
    }

    fn workload(&self, name: &str, index: usize) -> Result<Workload, JobError> {
        Workload::find(&self.place(Kind::Workload, name), &self.here).map_err(|error| match error {
            // Its name is wrong: that is the job's mistake, at this place.
            WorkloadError::Unknown { .. } => {
                let help = error.help().map(|help| help.to_string());
                self.at_workload(index, error.to_string(), help)
            }
            error => error.into(),
        })
    }

    /// An error at a workload's name, however it is written: alone or in a
    /// list, a name or a map.
    fn at_workload(&self, index: usize, message: String, help: Option<String>) -> JobError {
        let index = index.to_string();
        let places: [&[&str]; 4] = [
            &["workload", &index, "use"],
            &["workload", &index],
            &["workload", "use"],
            &["workload"],
        ];
        self.text.error_at_first(&places, message, help)
    }

    /// The recipe of the root file system, which must have what workloads run.
    pub(super) fn rootfs(
        &self,
        name: &str,
        workloads: &[PlannedWorkload],
    ) -> Result<Recipe, JobError> {
        let recipe = Recipe::find(&self.place(Kind::Rootfs, name), &self.here).map_err(
            |error| match error {
                RootfsError::Unknown { .. } => {
                    let help = error.help().map(|help| help.to_string());
                    self.text.error(&["rootfs"], error.to_string(), help)
                }
                error => error.into(),
            },
        )?;
        for (index, PlannedWorkload { workload, .. }) in workloads.iter().enumerate() {
            if let Some(program) = workload.programs().find(|program| !recipe.has(program)) {
                let message = format!(
                    "{} runs `{program}`, which the root file system `{}` does not have",
                    workload.name, recipe.name
                );
                let help = "`rootfs:` takes a recipe whose `programs` name it, see docs/jobs.md";
                return Err(self.at_workload(index, message, Some(help.to_owned())));
            }
        }
        Ok(recipe)
    }

    /// A name with a slash is a path from the job file; any other is looked up
    /// in the places of its kind.
    fn find(&self, kind: Kind, name: &str, place: &[&str]) -> Result<PathBuf, JobError> {
        let found = if name.contains('/') {
            let path = self.here.join(name);
            path.exists().then(|| Found {
                kind,
                name: name.to_owned(),
                place: Place::Beside,
                path,
            })
        } else {
            self.places.find(kind, name)
        };
        if let Some(found) = found {
            self.remember(&found);
            return Ok(found.path);
        }
        let expected = if name.contains('/') {
            format!("expected {}", self.here.join(name).display())
        } else {
            format!(
                "`kvet list` shows all; one of your own may lie beside {}",
                self.text.path.display()
            )
        };
        let help = if !name.contains('/') && self.here.join(name).exists() {
            format!(
                "write `./{name}` for the one beside {}",
                self.text.path.display()
            )
        } else {
            self.nearest(kind, name, expected)
        };
        Err(self
            .text
            .error(place, format!("there is no {kind} `{name}`"), Some(help)))
    }
}
