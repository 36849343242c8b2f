#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| detector_worker::fuzzing::decoding(data));
