//! Feeds the door `folder`.
#![no_main]

#[path = "../folders/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "the file is a module of a test as well")]
mod folders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| folders::folder(bytes));
