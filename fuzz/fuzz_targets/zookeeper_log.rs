//! Feeds the door `zookeeper_log`.
#![no_main]

#[path = "../files/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "each target feeds one of its doors")]
mod files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| files::zookeeper_log(bytes));
