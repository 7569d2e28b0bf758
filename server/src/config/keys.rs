//! Typed access to the keys of one file.
//!
//! Invariant: a value that is present and malformed is an error that names file, line, key and what
//! to write instead; it is never replaced by a default.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::admin::is_secret;
use super::known::{PROPERTY_PREFIX, is_bare, is_for_files};
use super::properties::{ConfigError, Entry, Properties};

/// The entries in force of one file.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    properties: &'a Properties,
    effective: BTreeMap<&'a str, &'a Entry>,
}

impl<'a> Keys<'a> {
    /// The keys of `properties`.
    pub(super) fn new(properties: &'a Properties) -> Self {
        Keys { properties, effective: properties.effective() }
    }

    /// The keys, ascending.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.effective.keys().copied()
    }

    /// How `key` was written: as it is in a file, or as the name of its flag.
    pub(super) fn spelling(&self, key: &'a str) -> &'a str {
        let flag = self.effective.get(key).and_then(|entry| entry.flag.as_deref());
        flag.and_then(|flag| flag.rsplit(' ').next()).unwrap_or(key)
    }

    /// What ZooKeeper's parser does not know, and so makes a property of its machine; the values of
    /// secrets are left out.
    pub(super) fn machine_properties(&self) -> BTreeMap<String, String> {
        let known = self.effective.iter().filter(|(key, _)| !is_for_files(key));
        let property = |(key, entry): (&&str, &&Entry)| {
            let prefix = if is_bare(key) { "" } else { PROPERTY_PREFIX };
            let value = if is_secret(key) { "***" } else { &entry.value };
            (format!("{prefix}{key}"), value.to_owned())
        };
        known.map(property).collect()
    }

    /// The keys that begin with `prefix`, ascending, with their values, which are not empty.
    pub(super) fn below(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names()
            .filter(move |key| key.starts_with(prefix))
            .filter_map(|key| Some((key, self.text(key)?)))
    }

    /// The value of `key`, if it is there and not empty.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.effective.get(key).map(|entry| entry.value.as_str()).filter(|text| !text.is_empty())
    }

    /// The number at `key`. An `Err` if it is there and no whole number, or outside `range`.
    pub(super) fn number<T>(
        &self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(entry) = self.effective.get(key) else {
            return Ok(None);
        };
        match entry.value.parse::<T>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            Ok(_) | Err(_) => Err(self.error(
                key,
                format!(
                    "{key} is {:?}; write a whole number from {} to {}",
                    entry.value,
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// The boolean at `key`. An `Err` if it is there and neither `true` nor `false`, in any case.
    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(entry) = self.effective.get(key) else {
            return Ok(default);
        };
        match entry.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.error(key, format!("{key} is {:?}; write true or false", entry.value))),
        }
    }

    /// An error at the line of `key`, or at its flag, or at the whole file if the key is not there.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        match self.effective.get(key) {
            Some(Entry { flag: Some(flag), .. }) => {
                ConfigError { file: flag.into(), line: None, problem: problem.into() }
            }
            entry => self.properties.error(entry.map(|entry| entry.line), problem),
        }
    }
}
