//! JSON as ZooKeeper's admin server prints it: indented by two blanks, a blank on both sides of a
//! colon, lists in one line.
//!
//! Invariant: what is written is text of JSON as far as it goes, and can be taken away part by part
//! while the rest is being made.

use std::fmt::{Display, Write};

/// A text of JSON in the making.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: String,
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    is_object: bool,
    is_empty: bool,
}

impl Json {
    pub(super) fn begin_object(&mut self) {
        self.begin('{', true);
    }

    pub(super) fn begin_list(&mut self) {
        self.begin('[', false);
    }

    /// Ends the innermost object or list.
    pub(super) fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        match open {
            Open { is_object: true, is_empty: false } => {
                self.new_line();
                self.out.push('}');
            }
            Open { is_object: true, is_empty: true } => self.out.push_str(" }"),
            Open { is_object: false, .. } => self.out.push_str(" ]"),
        }
    }

    /// The name of what follows in an object.
    pub(super) fn key(&mut self, key: impl Display) {
        if let Some(open) = self.open.last_mut() {
            if !open.is_empty {
                self.out.push(',');
            }
            open.is_empty = false;
        }
        self.new_line();
        self.quote(&key.to_string());
        self.out.push_str(" : ");
    }

    /// A number, `true`, `false` or `null`.
    pub(super) fn plain(&mut self, value: impl Display) {
        self.before_value();
        write!(self.out, "{value}").expect("a string takes all text");
    }

    pub(super) fn text(&mut self, value: &str) {
        self.before_value();
        self.quote(value);
    }

    /// A field of an object.
    pub(super) fn put(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.plain(value);
    }

    /// A field of an object that is a text.
    pub(super) fn put_text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text(value);
    }

    /// A field of an object that is a list of texts.
    pub(super) fn put_texts(&mut self, key: &str, values: &[String]) {
        self.key(key);
        self.begin_list();
        values.iter().for_each(|value| self.text(value));
        self.end();
    }

    /// How much is written and not taken.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes what is written so far.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    fn begin(&mut self, mark: char, is_object: bool) {
        self.before_value();
        self.out.push(mark);
        self.open.push(Open { is_object, is_empty: true });
    }

    fn before_value(&mut self) {
        if let Some(open) = self.open.last_mut()
            && !open.is_object
        {
            self.out.push_str(if open.is_empty { " " } else { ", " });
            open.is_empty = false;
        }
    }

    fn new_line(&mut self) {
        let depth = self.open.iter().filter(|open| open.is_object).count();
        self.out.push('\n');
        for _ in 0..depth {
            self.out.push_str("  ");
        }
    }

    fn quote(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c.is_control() => {
                    write!(self.out, "\\u{:04X}", u32::from(c)).expect("a string takes all text");
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_zookeepers_does() {
        let mut json = Json::default();
        json.begin_object();
        json.key("connections");
        json.begin_list();
        for port in [1, 2] {
            json.begin_object();
            json.put_text("address", &format!("h:{port}"));
            json.put("ops", port);
            json.end();
        }
        json.end();
        json.key("none");
        json.begin_list();
        json.end();
        json.key("map");
        json.begin_object();
        json.put_texts("7", &["/a".to_owned(), "/b".to_owned()]);
        json.end();
        json.key("empty");
        json.begin_object();
        json.end();
        json.put("error", "null");
        json.end();
        let expected = "{\n  \"connections\" : [ {\n    \"address\" : \"h:1\",\n    \"ops\" : 1\n  \
                        }, {\n    \"address\" : \"h:2\",\n    \"ops\" : 2\n  } ],\n  \"none\" : [ \
                        ],\n  \"map\" : {\n    \"7\" : [ \"/a\", \"/b\" ]\n  },\n  \"empty\" : { \
                        },\n  \"error\" : null\n}";
        assert_eq!(json.take(), expected);
    }

    #[test]
    fn any_text_is_read_back() {
        let text = "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}\u{85}\u{2028}\u{1F600}/";
        let mut json = Json::default();
        json.begin_list();
        json.text(text);
        json.end();
        let read: Vec<String> = serde_json::from_str(&json.take()).unwrap();
        assert_eq!(read, [text]);
    }

    #[test]
    fn what_is_taken_part_by_part_is_the_whole() {
        let write = |json: &mut Json, whole: &mut String, at_once: bool| {
            json.begin_object();
            for key in ["a", "b"] {
                json.put(key, 1);
                if !at_once {
                    whole.push_str(&json.take());
                }
            }
            json.end();
            whole.push_str(&json.take());
        };
        let (mut parts, mut whole) = (String::new(), String::new());
        write(&mut Json::default(), &mut parts, false);
        write(&mut Json::default(), &mut whole, true);
        assert_eq!(parts, whole);
    }
}
