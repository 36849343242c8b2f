#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shop_api::files::fuzzing::file_headers(data));
