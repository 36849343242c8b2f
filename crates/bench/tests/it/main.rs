//! Tests of the bench as a program.

mod memory;
