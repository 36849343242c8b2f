#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| alert_stream::fuzzing::sse(data));
