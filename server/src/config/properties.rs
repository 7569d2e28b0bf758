//! Java properties files, as `java.util.Properties.load` reads them.
//!
//! Invariant: whatever bytes come in, the outcome is a list of keys and values or an error that
//! names file and line. One difference to Java on purpose: a file that is valid UTF-8 is read as
//! UTF-8, any other as Latin-1; Java reads Latin-1 always.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, iter};

use super::flags::{Flag, Flags};

/// Why a configuration cannot be used: one sentence that says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file at fault, as it was named, or the variable and the flag; empty if it was the
    /// command line.
    pub file: PathBuf,
    /// The line at fault, from 1, if there is one.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_os_str().is_empty(), self.line) {
            (true, _) => {}
            (false, Some(line)) => write!(f, "{}, line {line}: ", self.file.display())?,
            (false, None) => write!(f, "{}: ", self.file.display())?,
        }
        f.write_str(&self.problem)
    }
}

/// One `key=value` of a file, both trimmed as ZooKeeper trims them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key, without escapes.
    pub key: String,
    /// The value, without escapes; may be empty.
    pub value: String,
    /// The line on which it begins, from 1; 0 if it is a flag.
    pub line: usize,
    /// The variable and the name of the flag that it is, if it stands in no file.
    pub flag: Option<String>,
}

/// All entries of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// The file, as it was named.
    pub file: PathBuf,
    /// In the order of the file, duplicates included.
    pub entries: Vec<Entry>,
    /// The file as it is; empty if there is none.
    pub text: String,
}

impl Properties {
    /// Reads `path`. An `Err` is a file that cannot be read or is malformed.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|error| ConfigError {
            file: path.to_owned(),
            line: None,
            problem: format!("cannot read the configuration: {error}"),
        })?;
        Properties::parse(path, &bytes)
    }

    /// Parses the content of `file`. An `Err` is a malformed `\u` escape.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
        };
        let mut entries = Vec::new();
        for (line, logical) in logical_lines(&text) {
            let (key, value) = split(&logical);
            let plain = |escaped: &str| {
                unescape(escaped).map(|plain| trimmed(&plain).to_owned()).map_err(|problem| {
                    ConfigError { file: file.to_owned(), line: Some(line), problem }
                })
            };
            entries.push(Entry { key: plain(key)?, value: plain(value)?, line, flag: None });
        }
        Ok(Properties { file: file.to_owned(), entries, text })
    }

    /// Adds an entry that stands in no file, such as an argument of the command line.
    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.entries.push(Entry {
            key: key.to_owned(),
            value: trimmed(value).to_owned(),
            line: self.entries.len() + 1,
            flag: None,
        });
    }

    /// The same with `flags` beside what is in the file. ZooKeeper makes a property of what its
    /// parser does not know in a file, and does so after its machine has read the flags: so the
    /// file wins. Only properties without its prefix cannot be had in a file: so the flag wins.
    pub(super) fn with_flags(mut self, flags: &Flags) -> Self {
        let entry = |flag: &Flag| Entry {
            key: flag.key.clone(),
            value: trimmed(&flag.value).to_owned(),
            line: 0,
            flag: Some(flag.place()),
        };
        let (bare, prefixed): (Vec<&Flag>, Vec<&Flag>) =
            flags.settings.iter().partition(|flag| flag.is_bare);
        self.entries.splice(0..0, prefixed.into_iter().map(entry));
        self.entries.extend(bare.into_iter().map(entry));
        self
    }

    /// The entry in force for each key: the last one.
    pub(super) fn effective(&self) -> BTreeMap<&str, &Entry> {
        self.entries.iter().map(|entry| (entry.key.as_str(), entry)).collect()
    }

    /// An error at `line` of this file.
    pub(super) fn error(&self, line: Option<usize>, problem: impl Into<String>) -> ConfigError {
        ConfigError { file: self.file.clone(), line, problem: problem.into() }
    }
}

/// Joins continued lines and drops blank ones and comments; each with the number of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut logical = Vec::new();
    // A continued line: its first line's number, and what it holds so far.
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let line = natural.trim_start_matches(WHITESPACE);
        let (first, so_far) = open.take().unwrap_or((index + 1, String::new()));
        // As in Java, a line that has no character yet may still turn out to be a comment.
        if so_far.is_empty() && line.starts_with(['#', '!']) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            open = Some((first, so_far + &line[..line.len() - 1]));
        } else if !(so_far.is_empty() && line.is_empty()) {
            logical.push((first, so_far + line));
        }
    }
    // A file may end in a backslash: there is nothing to continue with.
    logical.extend(open.filter(|(_, rest)| !rest.is_empty()));
    logical
}

/// Lines that end in LF, CR or CRLF, without their ends.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let len = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + len..]);
        Some(&text[..end])
    })
}

/// Cuts a logical line at its first separator that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let here = !escaped && (matches!(c, '=' | ':') || WHITESPACE.contains(&c));
        escaped = c == '\\' && !escaped;
        here
    });
    let Some(end) = end else {
        return (line, "");
    };
    let rest = line[end..].trim_start_matches(WHITESPACE);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start_matches(WHITESPACE))
}

/// Resolves the escapes of a key or a value. An `Err` says what is malformed.
fn unescape(text: &str) -> Result<String, String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // In UTF-16, since a pair of \u escapes may be the two halves of one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                None => break,
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| hex);
                    units.push(unit.ok_or_else(|| {
                        format!("\"\\u{digits}\" is malformed; write \\u and four hex digits")
                    })?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units)
        .map_err(|_| "a \\u escape is one half of a surrogate pair; write both".to_owned())
}

/// `java.lang.String.trim`: everything up to the blank is taken away at both ends.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

/// What Java's properties take for white space.
const WHITESPACE: [char; 3] = [' ', '\t', '\u{c}'];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Result<Vec<(String, String, usize)>, ConfigError> {
        let properties = Properties::parse(Path::new("zoo.cfg"), text)?;
        Ok(properties.entries.into_iter().map(|e| (e.key, e.value, e.line)).collect())
    }

    #[test]
    fn every_form_that_java_reads_is_read_alike() {
        type Expected<'a> = &'a [(&'a str, &'a str, usize)];
        let table: &[(&str, Expected<'_>)] = &[
            ("", &[]),
            ("\n \t\n\u{c}\r\n", &[]),
            ("# a=b\n  ! c=d\n", &[]),
            ("# no continuation \\\na=b", &[("a", "b", 2)]),
            ("a=b", &[("a", "b", 1)]),
            ("a = b", &[("a", "b", 1)]),
            ("a:b", &[("a", "b", 1)]),
            ("a b c", &[("a", "b c", 1)]),
            ("a\tb", &[("a", "b", 1)]),
            ("a  :  b", &[("a", "b", 1)]),
            ("a==b", &[("a", "=b", 1)]),
            ("a=:b", &[("a", ":b", 1)]),
            ("a", &[("a", "", 1)]),
            ("a=", &[("a", "", 1)]),
            ("=b", &[("", "b", 1)]),
            ("  a=b  ", &[("a", "b", 1)]),
            ("a=b # no comment", &[("a", "b # no comment", 1)]),
            ("a=1\na=2", &[("a", "1", 1), ("a", "2", 2)]),
            ("a=1\rb=2\r\nc=3", &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]),
            ("a=1\\\n   2\nb=3", &[("a", "12", 1), ("b", "3", 3)]),
            ("a=1\\\r\n\t2", &[("a", "12", 1)]),
            ("a=1\\\\\nb=2", &[("a", "1\\", 1), ("b", "2", 2)]),
            ("a=1\\\n# part of it", &[("a", "1# part of it", 1)]),
            ("a=1\\\n\nb=2", &[("a", "1", 1), ("b", "2", 3)]),
            ("a=1\\", &[("a", "1", 1)]),
            ("\\\n# a comment\na=1", &[("a", "1", 3)]),
            ("a\\=b=c", &[("a=b", "c", 1)]),
            ("a\\ b=c", &[("a b", "c", 1)]),
            ("a\\:b:c", &[("a:b", "c", 1)]),
            ("path=C:\\\\data", &[("path", "C:\\data", 1)]),
            ("a=\\z\\\"", &[("a", "z\"", 1)]),
            ("a=x\\ty\\nz", &[("a", "x\ty\nz", 1)]),
            ("a=\\u0041\\u00e9", &[("a", "Aé", 1)]),
            ("a=\\ud83d\\ude00", &[("a", "😀", 1)]),
            ("a=/data/é", &[("a", "/data/é", 1)]),
            ("server.1=[::1]:2888:3888;2181", &[("server.1", "[::1]:2888:3888;2181", 1)]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(k, v, n)| ((*k).to_owned(), (*v).to_owned(), *n)).collect();
            assert_eq!(parsed(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf8_is_latin1() {
        assert_eq!(parsed(b"a=\xe9"), Ok(vec![("a".to_owned(), "é".to_owned(), 1)]));
    }

    #[test]
    fn the_last_of_two_wins() {
        let properties = Properties::parse(Path::new("f"), b"a=1\nb=2\na=3").unwrap();
        assert_eq!(properties.effective()["a"].value, "3");
        assert_eq!(properties.effective().len(), 2);
    }

    #[test]
    fn a_malformed_escape_is_refused_with_file_and_line() {
        for text in ["x=1\na=\\u00g1", "x=1\na=\\u41", "x=1\na=\\u", "x=1\na=\\u+041"] {
            let error = parsed(text.as_bytes()).unwrap_err();
            assert_eq!((error.file.as_path(), error.line), (Path::new("zoo.cfg"), Some(2)));
            assert!(error.to_string().starts_with("zoo.cfg, line 2: "), "{error}");
        }
        let error = parsed(b"a=\\ud83d").unwrap_err();
        assert!(error.problem.contains("surrogate"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = Properties::read(Path::new("/nowhere/zoo.cfg")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/zoo.cfg: cannot read"), "{error}");
    }
}
