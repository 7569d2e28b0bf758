//! The times that a configuration gives, in ticks and milliseconds.

use super::keys::Keys;
use super::properties::ConfigError;

/// Twenty ticks fit ZooKeeper's 32-bit milliseconds.
const MAX_TICK_MS: u32 = (i32::MAX / 20) as u32;
/// Beyond every sensible limit, and any product with a tick fits 64 bits.
const MAX_TICKS: u32 = 1_000_000;

/// Everything that is measured in time.
pub(super) struct Times {
    pub(super) tick_time_ms: u32,
    pub(super) init_limit_ticks: u32,
    pub(super) sync_limit_ticks: u32,
    pub(super) min_session_timeout_ms: i32,
    pub(super) max_session_timeout_ms: i32,
}

impl Times {
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self, ConfigError> {
        let tick_time_ms = keys.number("tickTime", 1..=MAX_TICK_MS)?.unwrap_or(3_000);
        let tick = i32::try_from(tick_time_ms).expect("MAX_TICK_MS is far below i32::MAX");
        // -1 is ZooKeeper's word for "not set".
        let timeout = |key: &str, ticks: i32| -> Result<i32, ConfigError> {
            let found = keys.number(key, -1..=i32::MAX)?.filter(|&found| found != -1);
            if found == Some(0) {
                return Err(keys.error(key, format!("{key} is 0; write milliseconds from 1 up")));
            }
            Ok(found.unwrap_or(tick * ticks))
        };
        let min_session_timeout_ms = timeout("minSessionTimeout", 2)?;
        let max_session_timeout_ms = timeout("maxSessionTimeout", 20)?;
        if min_session_timeout_ms > max_session_timeout_ms {
            return Err(keys.error(
                "minSessionTimeout",
                format!(
                    "minSessionTimeout ({min_session_timeout_ms} ms) is larger than \
                     maxSessionTimeout ({max_session_timeout_ms} ms, by default 20 ticks); raise \
                     maxSessionTimeout or lower minSessionTimeout"
                ),
            ));
        }
        Ok(Times {
            tick_time_ms,
            init_limit_ticks: keys.number("initLimit", 0..=MAX_TICKS)?.unwrap_or(0),
            sync_limit_ticks: keys.number("syncLimit", 0..=MAX_TICKS)?.unwrap_or(0),
            min_session_timeout_ms,
            max_session_timeout_ms,
        })
    }

    /// A member of an ensemble needs both limits.
    pub(super) fn check_limits(
        &self,
        keys: &Keys<'_>,
        is_standalone: bool,
    ) -> Result<(), ConfigError> {
        if is_standalone {
            return Ok(());
        }
        for (key, ticks, usual) in
            [("initLimit", self.init_limit_ticks, 10), ("syncLimit", self.sync_limit_ticks, 5)]
        {
            if ticks == 0 {
                let problem = format!(
                    "{key} is missing or 0, and an ensemble needs it; add a line {key}={usual}"
                );
                return Err(keys.error(key, problem));
            }
        }
        Ok(())
    }
}
