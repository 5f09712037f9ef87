//! Bisection: from a failing job to the commit, release, patch or option that
//! did it.
//!
//! `search` decides, and knows nothing of kernels; `candidates` lists what is
//! searched; `log` is the state on disk, from which a search is replayed;
//! `report` is what comes out. The driver here builds and boots what the search
//! asks for and writes down what was seen.

pub mod candidates;
pub mod log;
pub mod report;
pub mod search;
