//! Feeds the door `request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::request(bytes));
