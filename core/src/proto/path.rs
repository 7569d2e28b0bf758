//! Names of znodes: what makes a path valid (`PathUtils.validatePath`), and taking it apart.
//!
//! A path stays text until it is used, because ZooKeeper checks different things in a different
//! order for each operation, and the answer must be the same.

use thiserror::Error;

/// Why a path is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// No character at all.
    #[error("the path is empty")]
    Empty,
    /// It does not begin with a slash.
    #[error("the path does not start with '/'")]
    Relative,
    /// It ends with a slash and is not the root.
    #[error("the path ends with '/'")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("the path has an empty name at byte {0}")]
    EmptyName(usize),
    /// A name that is `.` or `..`.
    #[error("the path has a relative name at byte {0}")]
    RelativeName(usize),
    /// A control character, surrogate, or one of the private use area.
    #[error("the path has a forbidden character at byte {0}")]
    ForbiddenCharacter(usize),
}

/// Checks every rule of a path.
///
/// # Errors
/// The first rule that the path breaks.
pub fn is_valid(path: &str) -> Result<(), PathError> {
    if is_plain(path.as_bytes()) {
        return Ok(());
    }
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    if path == "/" {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    if let Some((at, _)) = path.char_indices().find(|&(_, c)| is_forbidden(c)) {
        return Err(PathError::ForbiddenCharacter(at));
    }
    let mut at = 1;
    for name in path[1..].split('/') {
        match name {
            "" => return Err(PathError::EmptyName(at)),
            "." | ".." => return Err(PathError::RelativeName(at)),
            _ => at += name.len() + 1,
        }
    }
    Ok(())
}

/// Whether one look at each byte shows that a path is valid, as it does for nearly all: printable
/// ASCII, and no name that is empty or begins with a dot. What is not plain may be valid all the
/// same.
fn is_plain(path: &[u8]) -> bool {
    let [b'/', rest @ ..] = path else { return false };
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    let starts_a_name = |slash: &u8, byte: &u8| *slash != b'/' || !matches!(byte, b'/' | b'.');
    // Without an early end: so many bytes are looked at at a time.
    let pairs = path.iter().zip(rest);
    path.last() != Some(&b'/')
        && pairs.fold(true, |all, (a, b)| all & is_printable(b) & starts_a_name(a, b))
}

/// The text before the last slash; `""`, which addresses the root, for a znode at the top.
/// `None` if there is no slash.
pub fn parent_of(path: &str) -> Option<&str> {
    last_slash(path).map(|at| &path[..at])
}

/// The text after the last slash, or all of it.
pub fn name_of(path: &str) -> &str {
    last_slash(path).map_or(path, |at| &path[at + 1..])
}

/// Byte by byte: names are short, so that a search made for long texts costs more.
fn last_slash(path: &str) -> Option<usize> {
    path.bytes().rposition(|byte| byte == b'/')
}

/// ZooKeeper looks at UTF-16 units, so nothing above U+FFFF is allowed: it would be surrogates
/// there.
fn is_forbidden(c: char) -> bool {
    matches!(u32::from(c),
        0x0000..=0x001f | 0x007f..=0x009f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_refuses_what_it_names() {
        for path in ["/", "/a", "/a/b", "/...", "/.a", "/a..b", "/a b", "/\u{7e}", "/\u{a0}"] {
            assert_eq!(is_valid(path), Ok(()), "{path:?}");
        }
        for path in ["/\u{d7ff}", "/\u{f900}", "/\u{ffef}"] {
            assert_eq!(is_valid(path), Ok(()), "{path:?}");
        }
        let bad = [
            ("", PathError::Empty),
            ("a", PathError::Relative),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("//a", PathError::EmptyName(1)),
            ("/a//b", PathError::EmptyName(3)),
            ("/.", PathError::RelativeName(1)),
            ("/a/../b", PathError::RelativeName(3)),
            ("/a\0", PathError::ForbiddenCharacter(2)),
            ("/\u{1f}", PathError::ForbiddenCharacter(1)),
            ("/\u{7f}", PathError::ForbiddenCharacter(1)),
            ("/\u{9f}", PathError::ForbiddenCharacter(1)),
            ("/\u{e000}", PathError::ForbiddenCharacter(1)),
            ("/\u{fff0}", PathError::ForbiddenCharacter(1)),
            ("/\u{1f600}", PathError::ForbiddenCharacter(1)),
        ];
        for (path, error) in bad {
            assert_eq!(is_valid(path), Err(error), "{path:?}");
        }
    }

    /// Every text of up to five of these bytes, against the rules one by one.
    #[test]
    fn what_is_plain_is_valid() {
        let is_slowly_valid = |path: &str| {
            path == "/"
                || path.strip_prefix('/').is_some_and(|names| {
                    names.split('/').all(|name| !["", ".", ".."].contains(&name))
                        && !path.chars().any(is_forbidden)
                })
        };
        let mut texts = vec![String::new()];
        for length in 0..5 {
            let longer: Vec<String> = texts
                .iter()
                .filter(|text| text.len() == length)
                .flat_map(|text| ["/", ".", "a", "~", "\x7f"].map(|c| format!("{text}{c}")))
                .collect();
            texts.extend(longer);
        }
        for text in texts {
            assert_eq!(is_valid(&text).is_ok(), is_slowly_valid(&text), "{text:?}");
            assert!(!is_plain(text.as_bytes()) || is_slowly_valid(&text), "{text:?}");
        }
        assert!(is_plain(b"/services/api-0000000001") && !is_plain("/\u{e9}".as_bytes()));
    }

    #[test]
    fn a_path_comes_apart_at_the_last_slash() {
        assert_eq!((parent_of("/a/b"), name_of("/a/b")), (Some("/a"), "b"));
        assert_eq!((parent_of("/a"), name_of("/a")), (Some(""), "a"));
        assert_eq!((parent_of("a"), name_of("a")), (None, "a"));
    }
}
