//! The keys that say what clients may do to a server.
//!
//! Most of them are system properties of ZooKeeper (`ZooKeeperServer`, `BlueThrottle`,
//! `RequestThrottler`, `BinaryInputArchive`), and their numbers are written as Java's
//! `Integer.decode` reads them: `0x` begins a hexadecimal one.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use zokor_net::runtime::{ConnectThrottle, RequestThrottle, Share, Weights};
use zokor_net::wire::peer::LONGEST_CLIENT_FRAME;

use super::keys::Keys;
use super::properties::{ConfigError, Properties};

/// What clients may do to a server, beside their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// `jute.maxbuffer`: the longest frame in bytes. Default 1,048,575.
    pub max_frame_bytes: usize,
    /// `largeRequestThreshold`: longer frames are large; `None` if none is. Default `None`.
    pub large_request_threshold: Option<usize>,
    /// `largeRequestMaxBytes`: what large frames may weigh together. Default 100 MiB.
    pub large_request_max_bytes: usize,
    /// `connection_throttle_*`, but for the seed.
    pub connect: ConnectThrottle,
    /// `request_throttle*`, `request_stale_*`, `throttled_op_wait_time`.
    pub requests: RequestThrottle,
    /// `zokor.diskReserveMb`, in bytes: with less free on the disk of the log the server is short
    /// of room.
    pub disk_reserve_bytes: u64,
    /// `zokor.retainMb`, in bytes: if snapshots and log are larger together, fewer snapshots are
    /// kept than `autopurge.snapRetainCount`, but always two; 0 for no such budget. Default 16 GiB.
    pub retained_bytes: u64,
    /// `zokor.ioThreads`: threads that serve clients' sockets beside the event loop. Default 0.
    pub io_threads: usize,
    /// `zokor.scrubBytesPerSecond`: how much of what is at rest is read in a second; 0 for nothing.
    /// Default 1 MiB.
    pub scrub_bytes_per_second: u64,
    /// `zokor.scrubIntervalSeconds`: all that is at rest is read no more often than this. Default
    /// one hour.
    pub scrub_interval: Duration,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may take to its connect request. Default
    /// 10 s.
    pub handshake_timeout: Duration,
    /// `request_throttler.shutdownTimeout`: how long a server that stops waits for the requests
    /// under way, if the file says so.
    pub shutdown_timeout: Option<Duration>,
}

/// The keys that this file reads.
pub(super) const KEYS: &[&str] = &[
    "connection_throttle_decrease_ratio",
    "connection_throttle_drop_decrease",
    "connection_throttle_drop_increase",
    "connection_throttle_fill_count",
    "connection_throttle_fill_time",
    "connection_throttle_freeze_time",
    "connection_throttle_global_session_weight",
    "connection_throttle_local_session_weight",
    "connection_throttle_renew_session_weight",
    "connection_throttle_tokens",
    "connection_throttle_weight_enabled",
    "jute.maxbuffer",
    "largeRequestMaxBytes",
    "largeRequestThreshold",
    "nio.sessionlessCnxnTimeout",
    "request_stale_connection_check",
    "request_stale_latency_check",
    "request_throttle",
    "request_throttle_drop_stale",
    "request_throttle_max_requests",
    "request_throttler.shutdownTimeout",
    "throttled_op_wait_time",
];

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits {
            max_frame_bytes: 0xf_ffff,
            large_request_threshold: None,
            large_request_max_bytes: 100 << 20,
            connect: ConnectThrottle::default(),
            requests: RequestThrottle::default(),
            disk_reserve_bytes: 128 << 20,
            retained_bytes: 16 << 30,
            io_threads: 0,
            scrub_bytes_per_second: 1 << 20,
            scrub_interval: Duration::from_secs(3_600),
            handshake_timeout: Duration::from_secs(10),
            shutdown_timeout: None,
        }
    }
}

impl ClientLimits {
    /// The limits in the content of `file`. An `Err` is what is malformed.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let properties = Properties::parse(file, bytes)?;
        ClientLimits::read(&Keys::new(&properties), &mut Vec::new())
    }

    /// Reads them; what an operator should know goes to `warnings`.
    pub(super) fn read(keys: &Keys<'_>, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let default = ClientLimits::default();
        let max_bytes = integer(keys, "largeRequestMaxBytes", 1..=MAX)?;
        Ok(ClientLimits {
            max_frame_bytes: max_frame_bytes(keys, warnings)?,
            large_request_threshold: optional(keys, "largeRequestThreshold", 1)?,
            large_request_max_bytes: max_bytes
                .map_or(default.large_request_max_bytes, |bytes| bytes as usize),
            connect: connect_throttle(keys, warnings)?,
            requests: request_throttle(keys)?,
            disk_reserve_bytes: integer(keys, "zokor.diskReserveMb", 0..=MAX)?
                .map_or(default.disk_reserve_bytes, |megabytes| (megabytes as u64) << 20),
            retained_bytes: integer(keys, "zokor.retainMb", 0..=MAX)?
                .map_or(default.retained_bytes, |megabytes| (megabytes as u64) << 20),
            io_threads: integer(keys, "zokor.ioThreads", 0..=MAX_IO_THREADS)?
                .map_or(default.io_threads, |n| n as usize),
            scrub_bytes_per_second: integer(keys, "zokor.scrubBytesPerSecond", 0..=MAX)?
                .map_or(default.scrub_bytes_per_second, |bytes| bytes as u64),
            scrub_interval: integer(keys, "zokor.scrubIntervalSeconds", 0..=MAX)?
                .map_or(default.scrub_interval, |seconds| Duration::from_secs(seconds as u64)),
            handshake_timeout: milliseconds(keys, "nio.sessionlessCnxnTimeout", 1)?
                .unwrap_or(default.handshake_timeout),
            shutdown_timeout: milliseconds(keys, "request_throttler.shutdownTimeout", 0)?,
        })
    }
}

fn max_frame_bytes(keys: &Keys<'_>, warnings: &mut Vec<String>) -> Result<usize, ConfigError> {
    const KEY: &str = "jute.maxbuffer";
    let Some(bytes) = integer(keys, KEY, LEAST_FRAME_BYTES..=MAX)? else {
        return Ok(ClientLimits::default().max_frame_bytes);
    };
    let bytes = bytes as usize;
    if bytes > LONGEST_CLIENT_FRAME {
        warnings.push(format!(
            "{KEY} is {bytes}, and zokor takes {LONGEST_CLIENT_FRAME} bytes at most, which is in \
             force: every server must be able to read what any of them has admitted"
        ));
    }
    Ok(bytes.min(LONGEST_CLIENT_FRAME))
}

fn connect_throttle(
    keys: &Keys<'_>,
    warnings: &mut Vec<String>,
) -> Result<ConnectThrottle, ConfigError> {
    let default = ConnectThrottle::default();
    let count = |key: &str, least: i64| integer(keys, key, least..=MAX);
    let unsigned = |number: i64| number as u32;
    Ok(ConnectThrottle {
        tokens: count("connection_throttle_tokens", 0)?.map_or(default.tokens, unsigned),
        fill_time: milliseconds(keys, "connection_throttle_fill_time", 1)?
            .unwrap_or(default.fill_time),
        fill_count: count("connection_throttle_fill_count", 1)?
            .map_or(default.fill_count, unsigned),
        freeze_time: optional(keys, "connection_throttle_freeze_time", 0)?
            .map(|ms| Duration::from_millis(ms as u64)),
        drop_increase: share(keys, "connection_throttle_drop_increase", default.drop_increase)?,
        drop_decrease: share(keys, "connection_throttle_drop_decrease", default.drop_decrease)?,
        decrease_ratio: share(keys, "connection_throttle_decrease_ratio", default.decrease_ratio)?,
        weights: weights(keys, warnings)?,
        seed: 0,
    })
}

fn weights(keys: &Keys<'_>, warnings: &mut Vec<String>) -> Result<Option<Weights>, ConfigError> {
    let weight = |key: &str, default: u32| -> Result<u32, ConfigError> {
        Ok(integer(keys, key, 1..=MAX)?.map_or(default, |weight| weight as u32))
    };
    let local = weight("connection_throttle_local_session_weight", 1)?;
    // Nothing may be cheaper than a session of one server alone.
    let mut not_below_local = |key: &str, default: u32| -> Result<u32, ConfigError> {
        let found = weight(key, default)?;
        if found < local {
            warnings.push(format!(
                "{key} is {found}, less than the weight of a local session, {local}, which is in \
                 force for it"
            ));
        }
        Ok(found.max(local))
    };
    let global = not_below_local("connection_throttle_global_session_weight", 3)?;
    let renew = not_below_local("connection_throttle_renew_session_weight", 2)?;
    let is_new_local = keys.boolean("localSessionsEnabled", false)?;
    let weights = Weights { global, local, renew, is_new_local };
    Ok(keys.boolean("connection_throttle_weight_enabled", false)?.then_some(weights))
}

fn request_throttle(keys: &Keys<'_>) -> Result<RequestThrottle, ConfigError> {
    let default = RequestThrottle::default();
    let most = integer(keys, "request_throttle_max_requests", 0..=MAX)?;
    Ok(RequestThrottle {
        max_requests: match keys.boolean("request_throttle", true)? {
            true => most.map_or(default.max_requests, |most| most as usize),
            false => 0,
        },
        drop_stale: keys.boolean("request_throttle_drop_stale", default.drop_stale)?,
        stale_latency_check: keys
            .boolean("request_stale_latency_check", default.stale_latency_check)?,
        stale_connection_check: keys
            .boolean("request_stale_connection_check", default.stale_connection_check)?,
        op_wait_time: milliseconds(keys, "throttled_op_wait_time", 0)?
            .filter(|wait| !wait.is_zero()),
    })
}

/// The number at `key`; none if it is -1, ZooKeeper's word for "off".
fn optional(keys: &Keys<'_>, key: &str, least: i64) -> Result<Option<usize>, ConfigError> {
    match integer(keys, key, -1..=MAX)? {
        None | Some(-1) => Ok(None),
        Some(number) if number < least => {
            Err(keys.error(key, format!("{key} is {number}; write -1 for none, or {least} and up")))
        }
        Some(number) => Ok(Some(number as usize)),
    }
}

pub(super) fn milliseconds(
    keys: &Keys<'_>,
    key: &str,
    least: i64,
) -> Result<Option<Duration>, ConfigError> {
    Ok(integer(keys, key, least..=MAX)?.map(|ms| Duration::from_millis(ms as u64)))
}

/// A part of the whole, from 0 to 1.
fn share(keys: &Keys<'_>, key: &str, default: Share) -> Result<Share, ConfigError> {
    let Some(text) = keys.text(key) else {
        return Ok(default);
    };
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => {
            Ok(Share((part * f64::from(Share::WHOLE.0)).round() as u32))
        }
        Ok(_) | Err(_) => {
            Err(keys.error(key, format!("{key} is {text:?}; write a number from 0 to 1")))
        }
    }
}

/// The number at `key`, as Java's `Integer.decode` reads it.
pub(super) fn integer(
    keys: &Keys<'_>,
    key: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<i64>, ConfigError> {
    let Some(text) = keys.text(key) else {
        return Ok(None);
    };
    match decode(text).filter(|number| range.contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(keys.error(
            key,
            format!(
                "{key} is {text:?}; write a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        )),
    }
}

fn decode(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let is_plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    let number = i64::from_str_radix(digits, radix).ok().filter(|_| is_plain)?;
    Some(sign * number)
}

/// More than this nobody has use for.
const MAX_IO_THREADS: i64 = 64;
/// What a Java `int` holds.
const MAX: i64 = i32::MAX as i64;
/// A connect request has 45 bytes.
const LEAST_FRAME_BYTES: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(ClientLimits, Vec<String>), String> {
        let properties = Properties::parse(Path::new("zoo.cfg"), text.as_bytes()).unwrap();
        let mut warnings = Vec::new();
        let limits = ClientLimits::read(&Keys::new(&properties), &mut warnings);
        limits.map(|limits| (limits, warnings)).map_err(|error| error.problem)
    }

    fn limits(text: &str) -> ClientLimits {
        let (limits, warnings) = read(text).unwrap();
        assert_eq!(warnings, [""; 0], "{text}");
        limits
    }

    #[test]
    fn an_empty_file_gives_zookeepers_defaults() {
        assert_eq!(limits(""), ClientLimits::default());
        let net = zokor_net::runtime::Limits::default();
        assert_eq!(limits("").max_frame_bytes, net.max_frame_bytes);
        assert_eq!(limits("").large_request_max_bytes, net.large_request_max_bytes);
        assert_eq!(limits("").disk_reserve_bytes, net.disk_reserve_bytes);
        assert_eq!(limits("zokor.diskReserveMb=3\n").disk_reserve_bytes, 3 << 20);
        assert_eq!(limits("zokor.retainMb=0\n").retained_bytes, 0);
        assert_eq!(limits("zokor.retainMb=5\n").retained_bytes, 5 << 20);
        assert_eq!(limits("").scrub_bytes_per_second, net.scrub_bytes_per_second);
        assert_eq!((limits("").io_threads, limits("zokor.ioThreads=8\n").io_threads), (0, 8));
        assert_eq!(limits("zokor.scrubBytesPerSecond=0\n").scrub_bytes_per_second, 0);
        let storage = zokor_net::storage::Options::new(
            zokor_core::id::ServerId(1),
            [0; 16],
            zokor_core::time::WallTime(0),
        );
        assert_eq!(limits("").scrub_interval, storage.scrub_interval);
        let set = limits("zokor.scrubIntervalSeconds=9\n");
        assert_eq!(set.scrub_interval, Duration::from_secs(9));
        assert!(read("zokor.scrubBytesPerSecond=-1\n").is_err());
        assert_eq!(limits("").large_request_threshold, net.large_request_threshold);
    }

    #[test]
    fn numbers_are_written_as_java_reads_them() {
        for (text, bytes) in
            [("4194304", 4 << 20), ("0x400000", 4 << 20), ("#400000", 4 << 20), ("010000", 4096)]
        {
            assert_eq!(limits(&format!("jute.maxbuffer={text}")).max_frame_bytes, bytes);
        }
        for text in ["4m", "0x", "-1", "63", "2147483648", "0x-40", "--4", "1e6", "08000"] {
            let error = read(&format!("jute.maxbuffer={text}")).unwrap_err();
            assert!(error.starts_with(&format!("jute.maxbuffer is {text:?}; write a")), "{error}");
        }
    }

    #[test]
    fn a_buffer_beyond_what_every_server_can_read_is_cut_to_that_and_told() {
        let (limits, warnings) = read("jute.maxbuffer=104857600").unwrap();
        assert_eq!(limits.max_frame_bytes, LONGEST_CLIENT_FRAME);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("67108864 bytes at most"), "{warnings:?}");
    }

    #[test]
    fn large_requests_are_off_unless_there_is_a_threshold() {
        assert_eq!(limits("largeRequestThreshold=-1").large_request_threshold, None);
        let both = limits("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000");
        assert_eq!(both.large_request_threshold, Some(1_000));
        assert_eq!(both.large_request_max_bytes, 5_000);
        for text in
            ["largeRequestThreshold=0", "largeRequestMaxBytes=0", "largeRequestThreshold=-2"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn connection_throttling_is_read_with_its_weights() {
        let text = "connection_throttle_tokens=10\nconnection_throttle_fill_time=100\n\
                    connection_throttle_fill_count=2\nconnection_throttle_freeze_time=50\n\
                    connection_throttle_drop_increase=0.05\n\
                    connection_throttle_drop_decrease=0.001\n\
                    connection_throttle_decrease_ratio=0.5\n\
                    connection_throttle_weight_enabled=true\n\
                    connection_throttle_global_session_weight=5\n";
        let expected = ConnectThrottle {
            tokens: 10,
            fill_time: Duration::from_millis(100),
            fill_count: 2,
            freeze_time: Some(Duration::from_millis(50)),
            drop_increase: Share(50_000_000),
            drop_decrease: Share(1_000_000),
            decrease_ratio: Share(500_000_000),
            weights: Some(Weights { global: 5, local: 1, renew: 2, is_new_local: false }),
            seed: 0,
        };
        assert_eq!(limits(text).connect, expected);
        assert_eq!(limits("connection_throttle_freeze_time=-1").connect.freeze_time, None);
        let cheap = "connection_throttle_weight_enabled=true\n\
                     connection_throttle_local_session_weight=4\n";
        let (limits, warnings) = read(cheap).unwrap();
        let weights = Weights { global: 4, local: 4, renew: 4, is_new_local: false };
        assert_eq!((limits.connect.weights, warnings.len()), (Some(weights), 2));
        for wrong in [
            "connection_throttle_drop_increase=1.5",
            "connection_throttle_drop_increase=NaN",
            "connection_throttle_fill_time=0",
            "connection_throttle_local_session_weight=0",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn request_throttling_is_read() {
        let text = "request_throttle_max_requests=7\nrequest_throttle_drop_stale=false\n\
                    request_stale_latency_check=true\nrequest_stale_connection_check=false\n\
                    throttled_op_wait_time=20\nrequest_throttler.shutdownTimeout=4000\n";
        let expected = RequestThrottle {
            max_requests: 7,
            drop_stale: false,
            stale_latency_check: true,
            stale_connection_check: false,
            op_wait_time: Some(Duration::from_millis(20)),
        };
        assert_eq!(limits(text).requests, expected);
        assert_eq!(limits(text).shutdown_timeout, Some(Duration::from_secs(4)));
        let hurried = limits("nio.sessionlessCnxnTimeout=300");
        assert_eq!(hurried.handshake_timeout, Duration::from_millis(300));
        assert!(read("nio.sessionlessCnxnTimeout=0").is_err(), "nobody could connect");
        let off = limits("request_throttle=false\nrequest_throttle_max_requests=7");
        assert_eq!(off.requests.max_requests, 0);
        assert_eq!(limits("throttled_op_wait_time=0").requests.op_wait_time, None);
    }
}
