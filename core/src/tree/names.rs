//! Names that ACLs may hold: of Kerberos, for `sasl`, and of X.500, for `x509`.
//!
//! Invariant: any text is judged, in a time in proportion to its length. What is accepted is what
//! Java accepts: `KerberosName`, `javax.security.auth.x500.X500Principal`.

use std::str::CharIndices;

/// Whether `text` is `service`, `service@realm` or `service/host@realm`. What has no `@` is all
/// service.
pub(super) fn is_kerberos(text: &str) -> bool {
    match text.split_once('@') {
        None => true,
        Some((name, realm)) => name.matches('/').count() <= 1 && !realm.contains(['/', '@']),
    }
}

/// Whether `text` is a distinguished name, such as `CN=localhost,OU=zk`; the empty one is.
pub(super) fn is_distinguished(text: &str) -> bool {
    let mut rest = text;
    if rest.is_empty() {
        return true;
    }
    loop {
        let Some(after) = assertion(rest) else { return false };
        match after.chars().next() {
            None => return true,
            // Another one must follow.
            Some(_) => rest = &after[1..],
        }
    }
}

/// What comes after `KEYWORD=value`: nothing, or what begins with a separator.
fn assertion(text: &str) -> Option<&str> {
    let (keyword, value) = text.split_once('=')?;
    if !is_keyword(keyword.trim_matches(BLANK)) {
        return None;
    }
    let value = value.trim_start_matches(BLANK);
    match value.chars().next() {
        Some('#') => encoded(&value[1..]),
        Some('"') => quoted(&value[1..]),
        _ => plain(value),
    }
}

fn is_keyword(keyword: &str) -> bool {
    let has = |known: &&str| known.eq_ignore_ascii_case(keyword);
    let prefix = keyword.get(..4).filter(|start| start.eq_ignore_ascii_case("OID."));
    KEYWORDS.iter().any(has) || is_object_id(&keyword[prefix.map_or(0, str::len)..])
}

/// At least two numbers; the first is 0 to 2, and the second below 40 under 0 and 1.
fn is_object_id(text: &str) -> bool {
    let mut parts = text.split('.').map(|part| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse::<u64>().unwrap_or(u64::MAX))
    });
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(first), Some(second)) => {
            first <= 2 && (first == 2 || second < 40) && parts.all(|part| part.is_some())
        }
        _ => false,
    }
}

/// A value in hexadecimal: one whole element of DER.
fn encoded(text: &str) -> Option<&str> {
    let end = text.find(SEPARATORS).unwrap_or(text.len());
    let digits = &text[..end];
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |n: usize| u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok();
    let n_bytes = digits.len() / 2;
    let (head, length) = match byte(1)? {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let n = usize::from(long & 0x7f);
            if !(1..=4).contains(&n) {
                return None;
            }
            let length = (2..2 + n).try_fold(0, |sum, n| Some(sum << 8 | usize::from(byte(n)?)))?;
            (2 + n, length)
        }
    };
    (n_bytes == head + length).then_some(&text[end..])
}

/// A value up to its closing quote.
fn quoted(text: &str) -> Option<&str> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let after = text[at + 1..].trim_start_matches(BLANK);
                return (after.is_empty() || after.starts_with(SEPARATORS)).then_some(after);
            }
            '\\' => escape(&mut chars)?,
            _ => {}
        }
    }
    None
}

/// A value up to the next separator.
fn plain(text: &str) -> Option<&str> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | ';' | '+' => return Some(&text[at..]),
            '\\' => escape(&mut chars)?,
            '<' | '>' | '"' => return None,
            _ => {}
        }
    }
    Some("")
}

/// What stands behind a backslash.
fn escape(chars: &mut CharIndices<'_>) -> Option<()> {
    let (_, escaped) = chars.next()?;
    let is_byte = escaped.is_ascii_hexdigit()
        && chars.next().is_some_and(|(_, second)| second.is_ascii_hexdigit());
    (is_byte || ESCAPED.contains(&escaped)).then_some(())
}

const KEYWORDS: &[&str] = &[
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
];
const SEPARATORS: [char; 3] = [',', ';', '+'];
const BLANK: [char; 2] = [' ', '\n'];
/// What a backslash may stand before, beside two digits.
const ESCAPED: [char; 11] = [',', '=', '\n', '+', '<', '>', '#', ';', '\\', '"', ' '];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kerberos_has_names_of_three_parts() {
        let good = ["", "bob", "bob/host", "a/b/c", "bob@R", "bob/host@R", "@", "/@", "bob@"];
        let bad = ["a/b/c@R", "bob@R@S", "bob@R/host", "@@"];
        for name in good {
            assert!(is_kerberos(name), "{name}");
        }
        for name in bad {
            assert!(!is_kerberos(name), "{name}");
        }
    }

    /// Each was tried with `new X500Principal(text)` of Java 17.
    #[test]
    fn distinguished_names_are_those_that_java_reads() {
        let good = [
            "",
            "CN=a",
            "cn=a",
            "CN = a , O=b",
            "1.2.3=a",
            "OID.1.2.3=a",
            "CN=a;O=b",
            "CN=a+OU=b",
            "CN=\"a,b\"",
            "CN=\"a\\\"b\" , O=c",
            "CN=a\\,b",
            "CN=#0400",
            "CN=#040161,O=x",
            "EMAILADDRESS=x@y",
            "DC=a,DC=b",
            "CN=",
            "DNQ=x",
            "IP=x",
            " CN=a",
            "CN=a=b",
            "CN=a#b",
            "CN=é",
            "OU=a\nCN=b",
            "CN=a\\41",
            "CN=a\\ ",
            "CN=,O=b",
            "CN\n=a",
            "1.2=a",
            "2.999=a",
        ];
        let bad = [
            "CN",
            "=a",
            "XX=a",
            "9.2=a",
            "1.40=a",
            "1=a",
            "1..2=a",
            "CN=a,",
            "CN=#0401",
            "CN=#zz",
            "CN=#",
            "a",
            "CN=a,,O=b",
            "E=x",
            "SN=x",
            "CN=a\\",
            "CN=a\\z",
            "CN=a\\4",
            "CN=\"a\\z\"",
            "CN=#0400 ,O=b",
            "CN=\"a",
            "CN=\"a\"b",
            "CN=a<b",
            "CN=a\"b",
            "KRBNAME=x",
            "é=x",
            "OID=x",
            "OID.=x",
        ];
        for name in good {
            assert!(is_distinguished(name), "{name}");
        }
        for name in bad {
            assert!(!is_distinguished(name), "{name}");
        }
    }

    #[test]
    fn a_value_in_der_is_as_long_as_it_says() {
        let long = "61".repeat(200);
        let table = [
            (format!("CN=#0481C8{long}"), true),
            (format!("CN=#0481C7{long}"), false),
            ("CN=#0480".to_owned(), false),
            ("CN=#04FF".to_owned(), false),
            ("CN=#0484FFFFFFFF61".to_owned(), false),
        ];
        for (name, expected) in table {
            assert_eq!(is_distinguished(&name), expected, "{name}");
        }
    }
}
