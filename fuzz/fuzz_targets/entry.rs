//! Feeds the door `entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::entry(bytes));
