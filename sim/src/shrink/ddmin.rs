//! The minimizing delta-debugging algorithm (Zeller and Hildebrandt, 2002).
//!
//! Invariant: what is returned fails, if the whole list did.

/// The smallest part of `items` it finds that still `fails`. Taking any single item out of it makes
/// the failure go away, unless `fails` has given up.
pub(super) fn ddmin<T: Clone>(mut items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    if items.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while items.len() >= 2 {
        let size = items.len().div_ceil(parts);
        let chunks = items.chunks(size).count();
        let found = (0..chunks).find_map(|skipped| {
            let rest: Vec<T> = items
                .chunks(size)
                .enumerate()
                .filter(|&(place, _)| place != skipped)
                .flat_map(|(_, chunk)| chunk.iter().cloned())
                .collect();
            fails(&rest).then_some(rest)
        });
        match found {
            Some(rest) => {
                items = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(items.len()),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let needs = |part: &[u32]| part.contains(&3) && part.contains(&77) && part.contains(&50);
        assert_eq!(ddmin((0..100).collect(), needs), [3, 50, 77]);
    }

    #[test]
    fn nothing_is_left_of_what_fails_anyway() {
        assert!(ddmin(vec![1, 2, 3], |_| true).is_empty());
        assert_eq!(ddmin(vec![1], |part| !part.is_empty()), [1]);
    }
}
