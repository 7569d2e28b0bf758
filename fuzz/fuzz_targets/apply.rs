//! Applies the transactions that the bytes say, and compares with the model after each.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zokor_sim::applying::agree(input));
