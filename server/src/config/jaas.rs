//! The file that names users and their passwords: a login configuration of Java (JAAS).
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_alice="secret" user_bob="other";
//! };
//! ```
//!
//! Invariant: no error shows a value. Source of the syntax: `sun.security.provider.ConfigFile`; of
//! the meaning: `ServerCnxnFactory.configureSaslLogin`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use super::properties::ConfigError;

/// One module of a section, with its options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    /// The name of its class.
    pub(super) class: String,
    /// The line on which it is named, from 1.
    pub(super) line: usize,
    /// The last value of each option. Passwords, for the most part.
    pub(super) options: BTreeMap<String, String>,
}

/// The modules of `section` in the file at `path`; `None` if there is no such section, or it is
/// empty. `property` tells the value of what stands as `${property}` in a value.
///
/// # Errors
/// A file that cannot be read or is malformed, with the line.
pub(super) fn read(
    path: &Path,
    section: &str,
    property: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Vec<Module>>, ConfigError> {
    let error = |line, problem| ConfigError { file: path.to_owned(), line, problem };
    let bytes = std::fs::read(path).map_err(|failure| {
        error(None, format!("cannot read the login configuration: {failure}"))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| error(None, "the login configuration is not UTF-8".to_owned()))?;
    let mut sections =
        parse(&text, property).map_err(|(line, problem)| error(Some(line), problem))?;
    Ok(sections.remove(section).filter(|modules| !modules.is_empty()))
}

type Problem = (usize, String);

fn parse(
    text: &str,
    property: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Vec<Module>>, Problem> {
    let mut words = Words { chars: text.chars().peekable(), line: 1, property };
    let mut sections = BTreeMap::new();
    loop {
        let name = match words.next()? {
            None => return Ok(sections),
            Some(Word::Text(name)) => name,
            Some(Word::Sign(sign)) => return Err(words.problem(sign, "the name of a section")),
        };
        let modules = section(&mut words)?;
        if sections.insert(name.clone(), modules).is_some() {
            return Err((words.line, format!("the section {name} stands there twice")));
        }
    }
}

fn section(words: &mut Words<'_>) -> Result<Vec<Module>, Problem> {
    words.expect('{')?;
    let mut modules = Vec::new();
    loop {
        match words.next()? {
            Some(Word::Sign('}')) => break,
            Some(Word::Text(class)) => modules.push(module(words, class)?),
            other => return Err(words.wrong(other, "the class of a login module, or \"}\"")),
        }
    }
    words.expect(';')?;
    Ok(modules)
}

fn module(words: &mut Words<'_>, class: String) -> Result<Module, Problem> {
    const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
    let mut module = Module { class, line: words.line, options: BTreeMap::new() };
    match words.next()? {
        Some(Word::Text(flag)) if FLAGS.iter().any(|it| it.eq_ignore_ascii_case(&flag)) => {}
        _ => {
            let problem = format!(
                "after the class {} comes one of the words {}",
                module.class,
                FLAGS.join(", ")
            );
            return Err((words.line, problem));
        }
    }
    loop {
        match words.next()? {
            Some(Word::Sign(';')) => return Ok(module),
            Some(Word::Text(option)) => {
                words.expect('=')?;
                match words.next()? {
                    Some(Word::Text(value)) => {
                        let value = words.expanded(&value)?;
                        module.options.insert(option, value);
                    }
                    _ => {
                        let problem =
                            format!("the option {option} has no value; write it in double quotes");
                        return Err((words.line, problem));
                    }
                }
            }
            other => return Err(words.wrong(other, "an option, or \";\" after the last one")),
        }
    }
}

/// What a file is made of.
enum Word {
    /// A name or a value, without its quotes.
    Text(String),
    /// One of the signs between them.
    Sign(char),
}

struct Words<'a> {
    chars: Peekable<Chars<'a>>,
    /// The line on which the last word ends, from 1.
    line: usize,
    property: &'a dyn Fn(&str) -> Option<String>,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<Word>, Problem> {
        self.skip()?;
        let Some(&first) = self.chars.peek() else { return Ok(None) };
        if first == '"' {
            self.chars.next();
            return self.quoted().map(|text| Some(Word::Text(text)));
        }
        let belongs = |c: char| c.is_alphanumeric() || matches!(c, '$' | '_' | '-' | '.' | '*');
        let mut text = String::new();
        while let Some(c) = self.chars.next_if(|&c| belongs(c)) {
            text.push(c);
        }
        if text.is_empty() {
            self.chars.next();
            return Ok(Some(Word::Sign(first)));
        }
        Ok(Some(Word::Text(text)))
    }

    /// Passes blanks and comments.
    fn skip(&mut self) -> Result<(), Problem> {
        while let Some(&c) = self.chars.peek() {
            match c {
                '\n' => self.line += 1,
                c if c.is_whitespace() => {}
                '/' => {
                    self.comment()?;
                    continue;
                }
                _ => break,
            }
            self.chars.next();
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<(), Problem> {
        self.chars.next();
        match self.chars.next() {
            Some('/') => while self.chars.next_if(|&c| c != '\n').is_some() {},
            Some('*') => {
                let mut last = ' ';
                loop {
                    match self.chars.next() {
                        Some('/') if last == '*' => break,
                        Some(c) => {
                            self.line += usize::from(c == '\n');
                            last = c;
                        }
                        None => return Err((self.line, "a comment has no end".to_owned())),
                    }
                }
            }
            _ => return Err(self.problem('/', "a word, or a comment")),
        }
        Ok(())
    }

    /// What stands before the closing quote, on this line.
    fn quoted(&mut self) -> Result<String, Problem> {
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some('"') => return Ok(text),
                Some('\\') => match self.chars.next() {
                    Some(digit @ '0'..='7') => text.push(self.octal(digit)),
                    Some('a') => text.push('\x07'),
                    Some('b') => text.push('\x08'),
                    Some('f') => text.push('\x0c'),
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some('v') => text.push('\x0b'),
                    Some('\n') | None => break,
                    Some(other) => text.push(other),
                },
                Some('\n') | None => break,
                Some(c) => text.push(c),
            }
        }
        Err((self.line, "a quote has no end on its line".to_owned()))
    }

    /// Up to three octal digits, of which the first is `digit`.
    fn octal(&mut self, digit: char) -> char {
        let value = |c: char| c as u32 - '0' as u32;
        let mut code = value(digit);
        let most = if code <= 3 { 2 } else { 1 };
        for _ in 0..most {
            match self.chars.next_if(|c| ('0'..='7').contains(c)) {
                Some(digit) => code = code * 8 + value(digit),
                None => break,
            }
        }
        char::from_u32(code).unwrap_or_default()
    }

    /// `value` with properties in place of `${...}`.
    fn expanded(&self, value: &str) -> Result<String, Problem> {
        let mut text = String::new();
        let mut rest = value;
        while let Some(start) = rest.find("${") {
            let Some(end) = rest[start..].find('}') else { break };
            let name = &rest[start + 2..start + end];
            text.push_str(&rest[..start]);
            match (name, (self.property)(name)) {
                ("/", _) => text.push('/'),
                (_, Some(value)) => text.push_str(&value),
                (_, None) => {
                    let problem = format!(
                        "${{{name}}} stands for nothing; set it by -D{name}=... in JVMFLAGS"
                    );
                    return Err((self.line, problem));
                }
            }
            rest = &rest[start + end + 1..];
        }
        text.push_str(rest);
        Ok(text)
    }

    fn expect(&mut self, sign: char) -> Result<(), Problem> {
        match self.next()? {
            Some(Word::Sign(found)) if found == sign => Ok(()),
            other => Err(self.wrong(other, &format!("\"{sign}\""))),
        }
    }

    /// Another word than the one that is due. It is not shown: it may be part of a password.
    fn wrong(&self, found: Option<Word>, expected: &str) -> Problem {
        match found {
            Some(Word::Sign(sign)) => self.problem(sign, expected),
            Some(Word::Text(_)) => (self.line, format!("here should be {expected}, not a word")),
            None => (self.line, format!("the file ends where {expected} should be")),
        }
    }

    fn problem(&self, sign: char, expected: &str) -> Problem {
        (self.line, format!("here should be {expected}, not {sign:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BTreeMap<String, Vec<Module>>, Problem> {
        let property = |name: &str| (name == "word").then(|| "secret".to_owned());
        parse(text, &property)
    }

    /// The options of the one module of `Server`.
    fn options(text: &str) -> Vec<(String, String)> {
        let mut sections = parsed(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        let modules = sections.remove("Server").expect("the section");
        assert_eq!(modules.len(), 1, "{text}");
        modules.into_iter().flat_map(|module| module.options).collect()
    }

    #[test]
    fn options_are_what_java_reads() {
        let table: [(&str, &[(&str, &str)]); 9] = [
            ("Server { x.Y required; };", &[]),
            ("Server{x.Y REQUIRED user_bob=\"a b\";};", &[("user_bob", "a b")]),
            (
                "Server { x.Y optional user_bob=\"se\\\"c;ret\" user_eve=plain; };",
                &[("user_bob", "se\"c;ret"), ("user_eve", "plain")],
            ),
            ("Server { x.Y required user_bob=\"a\" user_bob=\"b\"; };", &[("user_bob", "b")]),
            ("// c\n/* d \n * e **/ Server { x.Y required u=\"\"; };", &[("u", "")]),
            ("Server { x.Y required u=\"\\t\\101\\7z\\q\"; };", &[("u", "\tA\x07zq")]),
            ("Server { x.Y required u=\"${word}x$y${/}${\"; };", &[("u", "secretx$y/${")]),
            ("Server { x.Y required u=\"pä\"; };", &[("u", "pä")]),
            ("Client { x.Y required; }; Server { x.Y required u=v; };", &[("u", "v")]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(options(text), expected, "{text}");
        }
        let several = parsed("Server { x.Y required; z.W optional q=\"1\"; };").unwrap();
        assert_eq!(several["Server"][1].class, "z.W");
        assert_eq!(parsed("Server { };").unwrap()["Server"], []);
        assert!(parsed("").unwrap().is_empty());
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_without_a_value() {
        let table = [
            ("Server { x.Y required u=\"hunter2\" };", 1, "an option, or \";\""),
            ("Server { x.Y required u=\"hunter2\"; }", 1, "the file ends where \";\""),
            ("Server { x.Y required u=\"hunter2\";", 1, "the file ends where the class"),
            ("Server {\nx.Y u=\"hunter2\"; };", 2, "one of the words required"),
            ("Server { x.Y required\nu=; };", 2, "the option u has no value"),
            ("Server { x.Y required\nu \"hunter2\"; };", 2, "\"=\", not a word"),
            ("Server { x.Y required u=\"hunter2\n\"; };", 1, "a quote has no end"),
            ("Server { x.Y required u=\"hunter2\\", 1, "a quote has no end"),
            ("Server { x.Y required u='hunter2'; };", 1, "the option u has no value"),
            ("Server x.Y required;", 1, "here should be \"{\", not a word"),
            ("# c\nServer { x.Y required; };", 1, "the name of a section, not '#'"),
            ("/* c\n", 2, "a comment has no end"),
            ("/c", 1, "a word, or a comment"),
            ("Server { }; Server { };", 1, "the section Server stands there twice"),
            ("Server { x.Y required u=\"${nothing}\"; };", 1, "${nothing} stands for nothing"),
            ("Server { x.Y required user_a@b=\"hunter2\"; };", 1, "\"=\", not '@'"),
        ];
        for (text, line, expected) in table {
            let (at, problem) = parsed(text).expect_err(text);
            assert_eq!(at, line, "{text}: {problem}");
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(!problem.contains("hunter2"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = read(Path::new("/nowhere/jaas.conf"), "Server", &|_| None).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/jaas.conf: cannot read"), "{error}");
    }
}
