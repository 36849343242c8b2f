//! Guards of native code: decoders and networks, in which a bad frame can crash the process.
//!
//! Frames enter native code concurrently. A suspect, which was in native code when an earlier
//! process crashed, enters it alone, so that the next crash names only this frame.

use bus::Position;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::crash_log::{CrashLog, NativeSection};

/// Admits frames to native code and records them in the crash log.
pub struct NativeGate {
    crash_log: CrashLog,
    lock: RwLock<()>,
}

/// A frame in native code, until this is dropped.
pub struct InNativeCode<'g> {
    // Dropped in this order, so that the record is erased before the next frame enters.
    _section: NativeSection<'g>,
    _lock: NativeLock<'g>,
}

enum NativeLock<'g> {
    Shared(#[expect(dead_code, reason = "held until it is dropped")] RwLockReadGuard<'g, ()>),
    Exclusive(#[expect(dead_code, reason = "held until it is dropped")] RwLockWriteGuard<'g, ()>),
}

impl NativeGate {
    /// A gate with the crashes of earlier processes.
    pub fn new(crash_log: CrashLog) -> Self {
        Self { crash_log, lock: RwLock::new(()) }
    }

    /// The recorded crashes.
    pub fn crash_log(&self) -> &CrashLog {
        &self.crash_log
    }

    /// Waits until the frame may enter native code, and records that it has entered.
    pub async fn enter(&self, position: Position) -> InNativeCode<'_> {
        let lock = if self.crash_log.crashes(position) > 0 {
            NativeLock::Exclusive(self.lock.write().await)
        } else {
            NativeLock::Shared(self.lock.read().await)
        };
        InNativeCode { _section: self.crash_log.enter(position), _lock: lock }
    }
}
