//! Sequences the stages of a job.
