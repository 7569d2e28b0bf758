//! `envi`: where the process runs, under the names that a Java server uses.
//!
//! Invariant: the keys and their order are ZooKeeper's (`zookeeper: Environment.list`), so that
//! scripts find their lines; values that only a JVM has say so.

use std::fmt::Write;
use std::path::Path;

use crate::version::ZOOKEEPER_VERSION;

/// The whole answer.
pub(super) fn report() -> String {
    let mut text = String::from("Environment:\n");
    for (key, value) in values() {
        writeln!(text, "{key}={}", value.escape_default()).expect("a string takes all text");
    }
    text
}

/// All of it, by key.
pub(super) fn values() -> [(&'static str, String); 18] {
    let of_env = |name: &str| std::env::var(name).unwrap_or_default();
    let of_proc = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let here = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let meminfo = of_proc("/proc/meminfo");
    let mib = |key: &str| format!("{}MB", kib_of(&meminfo, key) / 1_024);
    [
        ("zookeeper.version", ZOOKEEPER_VERSION.to_owned()),
        ("host.name", first_line(&of_proc("/proc/sys/kernel/hostname"))),
        ("java.version", "none".to_owned()),
        ("java.vendor", "zokor".to_owned()),
        ("java.home", String::new()),
        ("java.class.path", String::new()),
        ("java.library.path", String::new()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "none".to_owned()),
        ("os.name", os_name().to_owned()),
        ("os.arch", os_arch().to_owned()),
        ("os.version", first_line(&of_proc("/proc/sys/kernel/osrelease"))),
        ("user.name", of_env("USER")),
        ("user.home", of_env("HOME")),
        ("user.dir", here),
        ("os.memory.free", mib("MemAvailable:")),
        ("os.memory.max", mib("MemTotal:")),
        ("os.memory.total", mib("MemTotal:")),
    ]
}

/// Those that a Java machine has as properties.
pub(crate) fn properties() -> impl Iterator<Item = (String, String)> {
    let of_machine = |(key, _): &(&str, String)| {
        ["java.", "os.name", "os.arch", "os.version", "user."].iter().any(|it| key.starts_with(it))
    };
    values().into_iter().filter(of_machine).map(|(key, value)| (key.to_owned(), value))
}

/// Open file descriptors of this process and the most it may have, where the system tells.
pub(super) fn file_descriptors() -> Option<(u64, u64)> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let most = match line.split_whitespace().next()? {
        "unlimited" => u64::MAX,
        number => number.parse().ok()?,
    };
    // The listing itself holds one open.
    Some((u64::try_from(open).ok()?.saturating_sub(1), most))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The KiB in a line of `/proc/meminfo`; 0 if there is none.
fn kib_of(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn os_name() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Mac OS X",
        "windows" => "Windows",
        other => other,
    }
}

fn os_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envi_has_zookeepers_keys_in_zookeepers_order() {
        let text = report();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("Environment:"));
        let keys: Vec<_> = lines.map(|line| line.split_once('=').unwrap().0).collect();
        let expected = "zookeeper.version host.name java.version java.vendor java.home \
                        java.class.path java.library.path java.io.tmpdir java.compiler os.name \
                        os.arch os.version user.name user.home user.dir os.memory.free \
                        os.memory.max os.memory.total";
        assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
        assert!(
            text.starts_with(&format!("Environment:\nzookeeper.version={ZOOKEEPER_VERSION}\n"))
        );
    }

    #[test]
    fn memory_is_read_from_the_line_of_its_name() {
        let meminfo = "MemTotal:        4096 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(kib_of(meminfo, "MemTotal:"), 4_096);
        assert_eq!(kib_of(meminfo, "MemAvailable:"), 2_048);
        assert_eq!(kib_of(meminfo, "Cached:"), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_fewer_descriptors_open_than_it_may_have() {
        let (open, most) = file_descriptors().unwrap();
        assert!(open >= 3 && open <= most, "{open} of {most}");
    }
}
