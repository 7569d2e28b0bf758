//! The server's log: one line an event to stderr, whatever the event says.
//!
//! Invariant: nothing that a stranger sends can end a line, move the cursor or turn the text
//! around. What would is written as an escape, in every field of every event, so that no place that
//! logs has to think of it.

use std::fmt::{self, Debug, Write};
use std::io::IsTerminal;

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// Begins to log events up to `level`, coloured only for eyes.
pub fn start(level: LevelFilter) {
    let subscriber = tracing_subscriber::fmt()
        .fmt_fields(fields())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .finish();
    // Whoever was first has the log.
    let _ = set_global_default(subscriber);
}

/// The message, then the other fields as `name=value`.
fn fields() -> impl for<'writer> FormatFields<'writer> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| match field.name() {
        "message" => write!(OneLine(writer), "{value:?}"),
        name => {
            write!(writer, "{name}=")?;
            write!(OneLine(writer), "{value:?}")
        }
    })
    .delimited(" ")
}

/// Passes text on, with escapes for what is no plain part of a line.
pub(crate) struct OneLine<W>(pub(crate) W);

impl<W: Write> Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(leaves_the_line) {
            let (plain, odd) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = odd.chars();
            for odd in chars.by_ref().take(1) {
                write!(self.0, "{}", odd.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Controls, the other ends of lines, and marks that change the direction of what follows.
fn leaves_the_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Page;

        fn make_writer(&self) -> Page {
            self.clone()
        }
    }

    /// What is logged by `events`.
    fn logged(events: impl FnOnce()) -> String {
        let page = Page::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(fields())
            .with_writer(page.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const FORGED: &str = "/a\n2026-01-01 ERROR all is lost\r\u{1b}[31m\u{85}\u{2028}\u{202e}x\0";
    const ESCAPED: &str =
        "/a\\n2026-01-01 ERROR all is lost\\r\\u{1b}[31m\\u{85}\\u{2028}\\u{202e}x\\u{0}";

    #[test]
    fn plain_events_read_as_they_were_written() {
        let log = logged(|| {
            tracing::info!(peer = %7, held_back = 3, why = "it is away", "a peer: {}", "Zürich");
        });
        assert_eq!(log, " INFO a peer: Zürich peer=7 held_back=3 why=\"it is away\"\n");
    }

    #[test]
    fn no_field_of_an_event_can_forge_a_line() {
        struct Raw;
        impl Debug for Raw {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORGED)
            }
        }
        let error = io::Error::other(FORGED);
        let log = logged(|| {
            tracing::warn!("{FORGED}");
            tracing::warn!(path = %FORGED, "display");
            tracing::warn!(path = ?Raw, "debug");
            tracing::warn!(path = FORGED, "a value");
            tracing::warn!(error = &error as &dyn std::error::Error, "an error");
        });
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 5, "{log:?}");
        assert_eq!(lines[0], format!(" WARN {ESCAPED}"));
        assert_eq!(lines[1], format!(" WARN display path={ESCAPED}"));
        assert_eq!(lines[2], format!(" WARN debug path={ESCAPED}"));
        for line in lines {
            assert!(line.starts_with(" WARN ") && !line.contains(leaves_the_line), "{line:?}");
        }
    }
}
