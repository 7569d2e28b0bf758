//! The operations of a multi.
//!
//! Invariant: they are weighed when they are put together, since whoever passes them on asks for
//! the weight again.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Write;

/// Writes in their order. A clone shares them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Write>", into = "Vec<Write>")]
pub struct Writes {
    all: Arc<[Write]>,
    size_bytes: usize,
}

impl Writes {
    /// The sum of their [sizes](Write::size_bytes).
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Changes each of them; others that share them keep what they have.
    pub fn change(&mut self, change: impl FnMut(&mut Write)) {
        let mut all = self.to_vec();
        all.iter_mut().for_each(change);
        *self = all.into();
    }
}

impl From<Vec<Write>> for Writes {
    fn from(writes: Vec<Write>) -> Self {
        let size_bytes = writes.iter().map(Write::size_bytes).sum();
        Writes { all: writes.into(), size_bytes }
    }
}

impl<const N: usize> From<[Write; N]> for Writes {
    fn from(writes: [Write; N]) -> Self {
        Vec::from(writes).into()
    }
}

impl From<Writes> for Vec<Write> {
    fn from(writes: Writes) -> Self {
        writes.to_vec()
    }
}

impl FromIterator<Write> for Writes {
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Self {
        Vec::from_iter(writes).into()
    }
}

impl Deref for Writes {
    type Target = [Write];

    fn deref(&self) -> &[Write] {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Writes {
    type Item = &'a Write;
    type IntoIter = std::slice::Iter<'a, Write>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Text;

    fn check(path: &str) -> Write {
        Write::Check { path: Text::from(path), version: 1 }
    }

    #[test]
    fn what_is_changed_is_weighed_anew_and_others_keep_theirs() {
        let mut writes = Writes::from([check("/a"), check("/b")]);
        let before = writes.clone();
        writes.change(|write| *write = check("/longer"));
        assert_eq!(before, [check("/a"), check("/b")].into());
        assert_eq!(writes, [check("/longer"), check("/longer")].into());
        assert_eq!(writes.size_bytes(), before.size_bytes() + 2 * 5);
    }
}
