//! Feeds the door `connect`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::connect(bytes));
