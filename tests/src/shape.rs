//! Lines of text by their shape, as scripts that read them see them.

/// Whether all of `line` has this shape: `#` stands for digits, `%` for hexadecimal ones, `$` for a
/// decimal fraction, `~` for any text without a blank, `*` for any text; all else for itself. None
/// of them stands for nothing.
pub fn fits(line: &str, shape: &str) -> bool {
    let Some(first) = shape.chars().next() else { return line.is_empty() };
    let rest = &shape[first.len_utf8()..];
    let is_part: fn(char) -> bool = match first {
        '#' => |c| c.is_ascii_digit() || c == '-',
        '%' => |c| c.is_ascii_hexdigit(),
        '$' => |c| c.is_ascii_digit() || c == '.',
        '~' => |c| !c.is_whitespace(),
        '*' => |_| true,
        other => return line.strip_prefix(other).is_some_and(|line| fits(line, rest)),
    };
    let ends =
        line.char_indices().take_while(|(_, c)| is_part(*c)).map(|(at, c)| at + c.len_utf8());
    ends.collect::<Vec<_>>().into_iter().rev().any(|end| fits(&line[end..], rest))
}

/// Panics unless each line of `text` fits its shape, and there are as many. A shape that ends with
/// `...` stands for any number of lines. Line ends count: what ends with one has an empty last
/// line.
pub fn check(text: &str, shapes: &[&str]) {
    let mut lines = text.split('\n');
    for shape in shapes {
        if let Some(shape) = shape.strip_suffix("...") {
            while lines.clone().next().is_some_and(|line| fits(line, shape)) {
                lines.next();
            }
            continue;
        }
        let line = lines.next();
        let fits = line.is_some_and(|line| fits(line, shape));
        assert!(fits, "{line:?} has not the shape {shape:?} in\n{text}");
    }
    assert_eq!(lines.next(), None, "more than was expected in\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_fitted_by_what_it_stands_for_and_by_nothing_else() {
        for (line, shape, expected) in [
            ("Sent: 17", "Sent: #", true),
            ("Sent: ", "Sent: #", false),
            ("Sent: 17 ", "Sent: #", false),
            ("0x1f: a b", "0x%: *", true),
            ("0xg: a", "0x%: *", false),
            ("1.25/7", "$/#", true),
            ("a-b", "~-b", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(fits(line, shape), expected, "{line:?} {shape:?}");
        }
    }

    #[test]
    fn lines_are_counted_with_their_ends() {
        check("a\n1\n2\nb\n", &["a", "#...", "b", ""]);
        assert!(std::panic::catch_unwind(|| check("a\n", &["a"])).is_err());
        assert!(std::panic::catch_unwind(|| check("a", &["a", "b"])).is_err());
    }
}
