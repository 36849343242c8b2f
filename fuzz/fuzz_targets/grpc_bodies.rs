#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shop_api::grpc::fuzzing::grpc_bodies(data));
