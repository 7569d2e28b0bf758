//! How the log is written.

use super::keys::Keys;
use super::properties::ConfigError;

/// How durable writes of the log are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogWrites {
    /// As the next two, whichever takes less time when the server starts.
    #[default]
    Measured,
    /// Past the page cache (`O_DIRECT`, `O_DSYNC`), where the file system knows how.
    Direct,
    /// Through the page cache, with `fdatasync`.
    Cached,
}

impl LogWrites {
    pub(super) fn read(keys: &Keys<'_>) -> Result<LogWrites, ConfigError> {
        const KEY: &str = "zokor.logWrites";
        match keys.text(KEY) {
            None | Some("measured") => Ok(LogWrites::Measured),
            Some("direct") => Ok(LogWrites::Direct),
            Some("cached") => Ok(LogWrites::Cached),
            Some(text) => {
                Err(keys.error(KEY, format!("{KEY} is {text:?}; write measured, direct or cached")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::properties::Properties;
    use super::*;

    #[test]
    fn the_key_takes_three_words() {
        let read = |text: &str| {
            let properties = Properties::parse(Path::new("zoo.cfg"), text.as_bytes())?;
            LogWrites::read(&Keys::new(&properties))
        };
        assert_eq!(read("").unwrap(), LogWrites::Measured);
        for (word, expected) in [
            ("measured", LogWrites::Measured),
            ("direct", LogWrites::Direct),
            ("cached", LogWrites::Cached),
        ] {
            assert_eq!(read(&format!("zokor.logWrites={word}\n")).unwrap(), expected);
        }
        let wrong = read("zokor.logWrites=true\n").unwrap_err().to_string();
        assert!(wrong.contains("write measured, direct or cached"), "{wrong}");
    }
}
