//! Ctrl-C and other requests to end, from the process's signals to the command
//! that is carried out.

use std::mem::MaybeUninit;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to end, heard from the moment this is made.
pub(super) struct Interruptions(Vec<Signal>);

impl Interruptions {
    /// `None` if signals cannot be had. To be made while there is one thread: a
    /// signal that comes meanwhile must have no other to go to.
    pub(super) fn listen() -> Option<Self> {
        let mut kinds = vec![
            SignalKind::interrupt(),
            SignalKind::terminate(),
            // A terminal that is in raw mode must not be left so.
            SignalKind::quit(),
        ];
        // Who starts kvet with nohup wants it to outlive the terminal.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !is_ignored(&status, 1) {
            kinds.push(SignalKind::hangup());
        }
        // The library installs its handler before it knows what the handler is
        // for: a signal between the two would be forgotten.
        let _held_back = HeldBack::new(&kinds);
        let signals: Result<Vec<_>, _> = kinds.into_iter().map(signal).collect();
        signals.ok().map(Self)
    }

    /// The next one; one that came meanwhile counts.
    pub(super) async fn next(&mut self) {
        let any = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(any).await;
    }
}

/// While this lives the thread is sent none of some signals; those that came are
/// delivered afterwards.
struct HeldBack {
    before: libc::sigset_t,
}

#[expect(unsafe_code, reason = "neither std nor rustix can block signals")]
impl HeldBack {
    /// `None` if the signals cannot be held back: they come as they come.
    fn new(kinds: &[SignalKind]) -> Option<Self> {
        let mut held = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset(3) initializes the set before anything reads it, and
        // pthread_sigmask(3) the other one, where it answers 0.
        unsafe {
            libc::sigemptyset(held.as_mut_ptr());
            for kind in kinds {
                libc::sigaddset(held.as_mut_ptr(), kind.as_raw_value());
            }
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, held.as_ptr(), before.as_mut_ptr());
            (failed == 0).then(|| Self {
                before: before.assume_init(),
            })
        }
    }
}

#[expect(unsafe_code, reason = "neither std nor rustix can block signals")]
impl Drop for HeldBack {
    fn drop(&mut self) {
        // SAFETY: a set that pthread_sigmask(3) has written.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}

/// Whether a process whose `/proc/self/status` this is ignores a signal.
fn is_ignored(status: &str, signal: u32) -> bool {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_whoever_started_kvet_has_it_ignore_is_known() {
        let status =
            |mask: &str| format!("Name:\tkvet\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        let is_ignored = |mask: &str| super::is_ignored(&status(mask), 1);
        assert!(!is_ignored("0000000000001000"));
        assert!(is_ignored("0000000000001001"));
        assert!(!super::is_ignored("", 1));
    }
}
