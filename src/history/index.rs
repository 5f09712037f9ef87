//! The index: summaries in `SQLite`, for questions over many runs. It holds
//! nothing that is not in the summaries, so that it can be made anew at any
//! time. Several processes may write at once: each run is written in one
//! transaction, and a writer waits for another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::summary::Summary;
use crate::outcome::Outcome;

/// The version of the tables; another one is made anew.
const VERSION: i64 = 3;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, stamp TEXT NOT NULL, job TEXT NOT NULL,
    started INTEGER NOT NULL, seconds REAL NOT NULL, verdict TEXT,
    planned INTEGER NOT NULL, open_end INTEGER NOT NULL, boots INTEGER, answer TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS runs_of_a_job ON runs (job, started);
CREATE TABLE IF NOT EXISTS arms (
    run TEXT NOT NULL, arm INTEGER NOT NULL, name TEXT NOT NULL, control INTEGER NOT NULL,
    release TEXT, PRIMARY KEY (run, arm)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trials (
    run TEXT NOT NULL, trial INTEGER NOT NULL, arm INTEGER NOT NULL, workload TEXT NOT NULL,
    outcome TEXT NOT NULL, tells INTEGER NOT NULL, seconds REAL NOT NULL, host TEXT,
    PRIMARY KEY (run, trial)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failed (
    run TEXT NOT NULL, trial INTEGER NOT NULL, attempt INTEGER NOT NULL, host TEXT NOT NULL,
    PRIMARY KEY (run, trial, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    id INTEGER PRIMARY KEY, class TEXT NOT NULL, title TEXT NOT NULL,
    signature TEXT NOT NULL, UNIQUE (title, signature)
) STRICT;
CREATE TABLE IF NOT EXISTS shown (
    run TEXT NOT NULL, trial INTEGER NOT NULL, finding INTEGER NOT NULL,
    PRIMARY KEY (run, trial, finding)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (
    run TEXT NOT NULL, subject TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (run, subject)
) STRICT, WITHOUT ROWID;
";

const DROP: &str = "
DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS arms; DROP TABLE IF EXISTS trials;
DROP TABLE IF EXISTS findings; DROP TABLE IF EXISTS shown; DROP TABLE IF EXISTS builds;
DROP TABLE IF EXISTS failed;
";

/// What can go wrong with it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another process holds it for too long.
    Locked,
    /// It is not what was written: to be made anew.
    Damaged(String),
    /// Its place does not serve.
    Unusable(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::DiskFull
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Unusable(text),
            // Not a database, malformed, other tables than kvet's.
            _ => Self::Damaged(text),
        }
    }
}

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    connection: Connection,
}

/// A run as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunRow {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) job: String,
    pub(super) started: Timestamp,
    pub(super) seconds: f64,
    pub(super) verdict: Option<String>,
    /// Its trials, or a bisection's boots.
    pub(super) trials: u32,
    /// Whether it is a bisection.
    pub(super) bisection: bool,
    /// What that came to.
    pub(super) answer: Option<String>,
}

/// An arm's trials in one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ArmRow {
    /// The run's place in time, from 0.
    pub(super) run: usize,
    pub(super) arm: String,
    pub(super) control: bool,
    pub(super) release: String,
    /// Trials that say something of the kernel.
    pub(super) tells: u32,
    /// Those that showed the target.
    pub(super) hits: u32,
    pub(super) trials: u32,
    /// Of all trials together.
    pub(super) seconds: f64,
}

/// A host's trials of an arm and a workload in one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HostRow {
    /// The run.
    pub(super) run: String,
    pub(super) host: String,
    pub(super) arm: String,
    pub(super) workload: String,
    /// Trials that say something of the kernel.
    pub(super) tells: u32,
    /// Those that showed the target.
    pub(super) hits: u32,
    pub(super) trials: u32,
    /// Attempts that the harness failed and that were made again.
    pub(super) failed: u32,
    /// Of all trials together.
    pub(super) seconds: f64,
}

/// A finding in an arm's trials in one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FindingRow {
    /// The run's place in time, from 0.
    pub(super) run: usize,
    pub(super) arm: String,
    pub(super) release: String,
    pub(super) class: String,
    pub(super) title: String,
    pub(super) signature: String,
    pub(super) hits: u32,
}

/// How often a workload's trials in one run, on one kernel, showed any of some
/// findings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamRow {
    pub(super) release: String,
    pub(super) workload: String,
    pub(super) hits: u32,
    pub(super) tells: u32,
}

impl Index {
    /// Opens the index, made if need be; waits for others so long.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Self, Trouble> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(patience)?;
        Self::prepared(connection)
    }

    /// One that nobody else sees.
    pub(super) fn in_memory() -> Result<Self, Trouble> {
        Self::prepared(Connection::open_in_memory()?)
    }

    fn prepared(mut connection: Connection) -> Result<Self, Trouble> {
        // Readers need not wait for writers; where that cannot be had (another
        // process is just opening it, a network's file system) they do.
        let mode = "PRAGMA journal_mode = WAL";
        let waits = connection.query_row(mode, [], |row| row.get::<_, String>(0));
        if let Err(error) = waits {
            match Trouble::from(error) {
                Trouble::Locked => {}
                trouble => return Err(trouble),
            }
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version = |connection: &Connection| -> Result<i64, rusqlite::Error> {
            connection.query_row("PRAGMA user_version", [], |row| row.get(0))
        };
        if version(&connection)? != VERSION {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if version(&change)? != VERSION {
                change.execute_batch(DROP)?;
                change.execute_batch(TABLES)?;
                change.pragma_update(None, "user_version", VERSION)?;
            }
            change.commit()?;
        }
        Ok(Self { connection })
    }

    /// The stamps of all runs, by id.
    pub(super) fn stamps(&self) -> Result<HashMap<String, String>, Trouble> {
        let mut query = self.connection.prepare("SELECT id, stamp FROM runs")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts a run in, in the place of what was known of it.
    pub(super) fn put(&mut self, summary: &Summary) -> Result<(), Trouble> {
        let change = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = &summary.id;
        let bisection = summary.bisection.as_ref();
        for table in ["arms", "trials", "failed", "shown", "builds"] {
            change.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [id])?;
        }
        change.execute(
            "INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                id,
                summary.path.to_string_lossy(),
                summary.stamp,
                summary.job,
                summary.started.as_millisecond(),
                summary.seconds,
                summary.verdict.map(crate::outcome::VerdictKind::name),
                summary.planned,
                summary.open_end,
                bisection.map(|bisection| bisection.boots),
                bisection.and_then(|bisection| bisection.answer.as_deref()),
            ],
        )?;
        for (place, arm) in (0_i64..).zip(&summary.arms) {
            change.execute(
                "INSERT INTO arms VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, place, arm.name, arm.control, arm.release],
            )?;
        }
        let mut findings = Vec::new();
        for finding in &summary.findings {
            let (title, signature) = (&finding.title, &finding.signature);
            change.execute(
                "INSERT OR IGNORE INTO findings (class, title, signature) VALUES (?1, ?2, ?3)",
                params![finding.class.to_string(), title, signature],
            )?;
            let place: i64 = change.query_row(
                "SELECT id FROM findings WHERE title = ?1 AND signature = ?2",
                [title, signature],
                |row| row.get(0),
            )?;
            findings.push(place);
        }
        {
            let mut put =
                change.prepare("INSERT INTO trials VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            let mut fail = change.prepare("INSERT INTO failed VALUES (?1, ?2, ?3, ?4)")?;
            let mut show = change.prepare("INSERT OR IGNORE INTO shown VALUES (?1, ?2, ?3)")?;
            for (place, trial) in (0_i64..).zip(&summary.trials) {
                put.execute(params![
                    id,
                    place,
                    i64::try_from(trial.arm).unwrap_or(i64::MAX),
                    trial.workload,
                    trial.outcome.name(),
                    trial.outcome.tells(),
                    trial.seconds,
                    trial.host,
                ])?;
                for (attempt, host) in (1_i64..).zip(&trial.failed_on) {
                    fail.execute(params![id, place, attempt, host])?;
                }
                let shown = trial.findings.iter();
                for finding in shown.filter_map(|&finding| findings.get(finding)) {
                    show.execute(params![id, place, finding])?;
                }
            }
        }
        for (subject, seconds) in &summary.builds {
            change.execute(
                "INSERT INTO builds VALUES (?1, ?2, ?3)",
                params![id, subject, seconds],
            )?;
        }
        change.commit()?;
        Ok(())
    }

    /// The runs of a job, or of all, the first one first.
    pub(super) fn runs(&self, job: Option<&str>) -> Result<Vec<RunRow>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT id, path, job, started, seconds, verdict,
                coalesce(boots, (SELECT count(*) FROM trials WHERE run = id)),
                boots IS NOT NULL, answer
             FROM runs WHERE ?1 IS NULL OR job = ?1 ORDER BY started, id",
        )?;
        let rows = query.query_map([job], |row| {
            let started: i64 = row.get(3)?;
            Ok(RunRow {
                id: row.get(0)?,
                path: PathBuf::from(row.get::<_, String>(1)?),
                job: row.get(2)?,
                started: Timestamp::from_millisecond(started).unwrap_or_default(),
                seconds: row.get(4)?,
                verdict: row.get(5)?,
                trials: row.get(6)?,
                bisection: row.get(7)?,
                answer: row.get(8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What the arms of a job came to, run by run; `runs` is what [`Self::runs`]
    /// said of it.
    pub(super) fn arms(&self, job: &str, runs: &[RunRow]) -> Result<Vec<ArmRow>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT runs.id, arms.name, arms.control, coalesce(arms.release, ''),
                sum(trials.tells), sum(trials.outcome = ?2), count(*), sum(trials.seconds)
             FROM runs JOIN arms ON arms.run = runs.id
                JOIN trials ON trials.run = runs.id AND trials.arm = arms.arm
             WHERE runs.job = ?1 GROUP BY runs.id, arms.arm ORDER BY runs.started, arms.arm",
        )?;
        let place = places(runs);
        let rows = query.query_map(params![job, Outcome::Target.name()], |row| {
            Ok((
                row.get::<_, String>(0)?,
                ArmRow {
                    run: 0,
                    arm: row.get(1)?,
                    control: row.get(2)?,
                    release: row.get(3)?,
                    tells: row.get(4)?,
                    hits: row.get(5)?,
                    trials: row.get(6)?,
                    seconds: row.get(7)?,
                },
            ))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (id, row) = row?;
            // A run that another process has just added is for the next time.
            all.extend(place.get(id.as_str()).map(|&run| ArmRow { run, ..row }));
        }
        Ok(all)
    }

    /// In how many trials of an arm with a workload the target showed, and how many
    /// told something, whatever the kernel.
    pub(super) fn shown(
        &self,
        job: &str,
        arm: &str,
        workload: &str,
    ) -> Result<(u32, u32), Trouble> {
        let mut query = self.connection.prepare(
            "SELECT coalesce(sum(trials.outcome = ?4), 0), coalesce(sum(trials.tells), 0)
             FROM runs JOIN arms ON arms.run = runs.id
                JOIN trials ON trials.run = runs.id AND trials.arm = arms.arm
             WHERE runs.job = ?1 AND arms.name = ?2 AND trials.workload = ?3",
        )?;
        let asked = params![job, arm, workload, Outcome::Target.name()];
        Ok(query.query_row(asked, |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// What trials of a job on other hosts came to, in its last runs that had any:
    /// `most` of them.
    pub(super) fn hosts(&self, job: &str, most: u32) -> Result<Vec<HostRow>, Trouble> {
        let mut query = self.connection.prepare(
            "WITH last AS (
                SELECT id, started FROM runs WHERE job = ?1 AND EXISTS (
                    SELECT 1 FROM trials WHERE run = id AND host IS NOT NULL)
                ORDER BY started DESC LIMIT ?3),
             attempts AS (
                SELECT run, trial, arm, workload, host, tells, outcome = ?2 AS hit, 0 AS failed,
                    seconds FROM trials WHERE host IS NOT NULL
                UNION ALL
                SELECT run, trial, arm, workload, failed.host, 0, 0, 1, 0
                FROM failed JOIN trials USING (run, trial))
             SELECT last.id, attempts.host, arms.name, attempts.workload, sum(attempts.tells),
                sum(attempts.hit AND attempts.tells), sum(NOT attempts.failed),
                sum(attempts.failed), sum(attempts.seconds)
             FROM last JOIN attempts ON attempts.run = last.id
                JOIN arms ON arms.run = last.id AND arms.arm = attempts.arm
             GROUP BY last.id, attempts.host, arms.arm, attempts.workload
             ORDER BY last.started, attempts.host, arms.arm, attempts.workload",
        )?;
        let rows = query.query_map(params![job, Outcome::Target.name(), most], |row| {
            Ok(HostRow {
                run: row.get(0)?,
                host: row.get(1)?,
                arm: row.get(2)?,
                workload: row.get(3)?,
                tells: row.get(4)?,
                hits: row.get(5)?,
                trials: row.get(6)?,
                failed: row.get(7)?,
                seconds: row.get(8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What the arms of a job showed, run by run.
    pub(super) fn findings(&self, job: &str, runs: &[RunRow]) -> Result<Vec<FindingRow>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT runs.id, arms.name, coalesce(arms.release, ''), findings.class,
                findings.title, findings.signature, sum(trials.tells)
             FROM runs JOIN arms ON arms.run = runs.id
                JOIN trials ON trials.run = runs.id AND trials.arm = arms.arm
                JOIN shown ON shown.run = runs.id AND shown.trial = trials.trial
                JOIN findings ON findings.id = shown.finding
             WHERE runs.job = ?1 GROUP BY runs.id, arms.arm, findings.id
             ORDER BY runs.started, arms.arm, findings.id",
        )?;
        let place = places(runs);
        let rows = query.query_map([job], |row| {
            Ok((
                row.get::<_, String>(0)?,
                FindingRow {
                    run: 0,
                    arm: row.get(1)?,
                    release: row.get(2)?,
                    class: row.get(3)?,
                    title: row.get(4)?,
                    signature: row.get(5)?,
                    hits: row.get(6)?,
                },
            ))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (id, row) = row?;
            all.extend(place.get(id.as_str()).map(|&run| FindingRow { run, ..row }));
        }
        Ok(all)
    }

    /// How often a job's workloads showed findings that `is` says are meant,
    /// title and signature in its hands; run by run, the first one first.
    pub(super) fn streams(
        &self,
        job: &str,
        is: impl Fn(&str, &str) -> bool,
    ) -> Result<Vec<StreamRow>, Trouble> {
        let mut query = self
            .connection
            .prepare("SELECT id, title, signature FROM findings")?;
        let mut rows = query.query([])?;
        let mut meant: Vec<i64> = Vec::new();
        while let Some(row) = rows.next()? {
            let (title, signature): (String, String) = (row.get(1)?, row.get(2)?);
            if is(&title, &signature) {
                meant.push(row.get(0)?);
            }
        }
        if meant.is_empty() {
            return Ok(Vec::new());
        }
        // As a list in JSON: there may be more than a statement has variables.
        let meant = serde_json::to_string(&meant).unwrap_or_default();
        let mut query = self.connection.prepare(
            "SELECT coalesce(arms.release, ''), trials.workload,
                sum(EXISTS (SELECT 1 FROM shown WHERE shown.run = runs.id
                    AND shown.trial = trials.trial
                    AND shown.finding IN (SELECT value FROM json_each(?2)))),
                count(*)
             FROM runs JOIN arms ON arms.run = runs.id
                JOIN trials ON trials.run = runs.id AND trials.arm = arms.arm
             WHERE runs.job = ?1 AND trials.tells
             GROUP BY runs.id, arms.arm, trials.workload ORDER BY runs.started, arms.arm",
        )?;
        let rows = query.query_map([job, &meant], |row| {
            Ok(StreamRow {
                release: row.get(0)?,
                workload: row.get(1)?,
                hits: row.get(2)?,
                tells: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How long builds of a job took, by what they are called, the last one
    /// first.
    pub(super) fn builds(&self, job: &str) -> Result<Vec<(String, f64)>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT builds.subject, builds.seconds FROM runs JOIN builds ON builds.run = runs.id
             WHERE runs.job = ?1 ORDER BY runs.started DESC",
        )?;
        let rows = query.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How long trials of a job took, by `ARM/WORKLOAD`, run by run, the last one
    /// first: seconds of one.
    pub(super) fn trial_times(&self, job: &str) -> Result<Vec<(String, f64)>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT arms.name || '/' || trials.workload, avg(trials.seconds)
             FROM runs JOIN arms ON arms.run = runs.id
                JOIN trials ON trials.run = runs.id AND trials.arm = arms.arm
             WHERE runs.job = ?1 AND trials.tells
             GROUP BY runs.id, arms.arm, trials.workload ORDER BY runs.started DESC",
        )?;
        let rows = query.query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How long the runs of a job took that had so many trials and came to their
    /// end, the last one first. What an interrupted one had obtained was judged, too,
    /// so that its trials alone tell.
    pub(super) fn run_times(&self, job: &str, planned: u32) -> Result<Vec<f64>, Trouble> {
        let mut query = self.connection.prepare(
            "SELECT seconds FROM runs
             WHERE job = ?1 AND planned = ?2 AND verdict IS NOT NULL AND NOT open_end
                AND (SELECT count(*) FROM trials WHERE run = id) >= planned
             ORDER BY started DESC",
        )?;
        let rows = query.query_map(params![job, planned], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The ids and directories of runs whose id is, begins or ends so.
    pub(super) fn named(&self, name: &str) -> Result<Vec<(String, PathBuf)>, Trouble> {
        let exact: Option<String> = self
            .connection
            .query_row("SELECT path FROM runs WHERE id = ?1", [name], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(path) = exact {
            return Ok(vec![(name.to_owned(), PathBuf::from(path))]);
        }
        let runs = self.runs(None)?.into_iter();
        let named = runs.filter(|run| run.id.starts_with(name) || run.id.ends_with(name));
        Ok(named.map(|run| (run.id, run.path)).collect())
    }
}

fn places(runs: &[RunRow]) -> HashMap<&str, usize> {
    let ids = runs.iter().map(|run| run.id.as_str());
    ids.zip(0..).collect()
}
