//! Feeds the door `image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zokor_fuzz::image(bytes));
