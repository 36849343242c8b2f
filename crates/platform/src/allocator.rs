//! The allocator of every program that links this crate.
//!
//! A small message or request spends an eighth to a quarter of its time in the C library's allocator; this one takes half of that.
//! docs/decisions/memory.md has what it costs in memory. C and C++ libraries keep their own. Fuzz targets do without
//! this module, because a sanitizer sees errors of memory only with its own allocator.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
