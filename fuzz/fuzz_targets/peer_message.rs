//! Feeds the door `peer_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::peer_message(bytes));
