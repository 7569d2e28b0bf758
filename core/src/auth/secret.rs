//! What must never be shown, and how it is compared.
//!
//! Invariant: no `Debug` output holds a secret, and how long a comparison takes tells nothing but
//! lengths.

use std::fmt;

/// A password, or what stands for one.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for a computation.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        is_equal(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Whether both are equal, found out in a time that depends on their lengths alone.
pub(super) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(Secret)");
    }

    #[test]
    fn only_equal_bytes_are_equal() {
        let table = [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false)];
        for (one, other, expected) in table {
            assert_eq!(is_equal(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(Secret::new(one) == Secret::new(other), expected, "{one} {other}");
        }
    }
}
