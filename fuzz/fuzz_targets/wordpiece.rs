#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| text::fuzzing::wordpiece(data));
