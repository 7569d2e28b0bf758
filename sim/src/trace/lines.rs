//! A trace as text for machines: one event a line, as JSON.
//!
//! Invariant: every event is one line, in the order of time, and no event holds a line's end.

use std::io::{Result, Write};

use super::Trace;

impl Trace {
    /// Writes all events to `out`.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_lines(&self, out: &mut impl Write) -> Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Lane};
    use super::*;

    #[test]
    fn every_event_is_a_line_of_json() {
        let mut trace = Trace::full();
        trace.note(5, Lane::World, Kind::Fault, || "two\nlines".to_owned());
        trace.caused(7, Lane::Server(2), Kind::Crash, 1, || "\"quoted\"".to_owned());
        let mut out = Vec::new();
        trace.write_lines(&mut out).unwrap();
        let lines: Vec<serde_json::Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["text"], "two\nlines");
        assert_eq!(lines[0]["lane"], "World");
        assert_eq!(lines[1]["lane"]["Server"], 2);
        assert_eq!(lines[1]["kind"], "Crash");
        assert_eq!(lines[1]["cause"], 1);
        assert_eq!(lines[1]["time"], 7);
    }
}
