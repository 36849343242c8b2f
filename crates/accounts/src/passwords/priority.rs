//! The scheduling priority of hashing threads.

/// Lower priority where `SCHED_IDLE` is not available.
const NICE: i32 = 10;

/// Lets the calling thread run only when nothing else wants the processor (`SCHED_IDLE`, Linux), or else at a lower priority. On
/// Linux both are a thread's own. A failure is not reported: then the number of threads alone bounds them.
pub(super) fn lower() {
    if !set_idle() {
        let _ = rustix::process::nice(NICE);
    }
}

#[cfg(target_os = "linux")]
fn set_idle() -> bool {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameters live until the call returns.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn set_idle() -> bool {
    false
}
