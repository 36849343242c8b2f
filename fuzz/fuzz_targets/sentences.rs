#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| text::fuzzing::sentences_of(data));
