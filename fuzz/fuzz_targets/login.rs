//! Feeds the door `login`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::login(bytes));
