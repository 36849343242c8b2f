//! The bench as a program.

mod memory;
