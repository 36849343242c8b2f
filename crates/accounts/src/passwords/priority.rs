//! The scheduling priority of hashing threads.
//!
//! `SCHED_IDLE` keeps sign-ins away from frames better, but on a machine whose cores are all busy a hash took about 15 times as
//! long under it as at this nice value, which makes a sign-in last seconds.

/// Niceness added to that of the process.
pub(super) const NICE: i32 = 10;

/// Lowers the priority of the calling thread. On Linux a priority is a thread's own. A failure is
/// not reported: then only the number of threads limits their CPU time.
pub(super) fn lower() {
    let _ = rustix::process::nice(NICE);
}
