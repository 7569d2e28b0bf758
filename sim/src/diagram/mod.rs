//! A trace as a page to look at: a space-time diagram in one file of HTML that needs nothing else.
//!
//! Time runs downwards, as in the text chart and in every log, so that the wheel goes through the
//! run as through a document, and an event's text has a row to stand in. `page.html` is the
//! skeleton; `trace.js` holds the data, `sign.js` the looks, `draw.js` draws what is in the window
//! and `map.js` the whole, `page.js` listens to the reader.
//!
//! Invariant: the page holds every event once, and no text of a trace can be taken for markup.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::trace::{Event, EventId, Kind, Lane, Span, Standing, Tenure, Trace, Trouble};
use crate::world::queue::Micros;

/// What stands above a diagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// What the diagram shows, in a few words.
    pub title: String,
    /// What went wrong, in a sentence, or that nothing did.
    pub subtitle: String,
    /// The command that runs it again.
    pub command: String,
    /// How many servers there are, named from 1.
    pub servers: u64,
    /// How many clients there are, named from 1.
    pub clients: u64,
}

/// The diagram of a trace.
pub fn page(trace: &Trace, heading: &Heading) -> String {
    let data = serde_json::to_string(&Content::new(trace, heading))
        .expect("numbers and strings have a form in JSON");
    // In JSON a `<` is always in a string, where it has a second spelling that ends no script.
    let data = data.replace('<', "\\u003c");
    let script = SCRIPTS.concat();
    let (head, rest) = SKELETON.split_once("{{style}}").expect("page.html has a place for it");
    let (body, rest) = rest.split_once("{{trace}}").expect("page.html has a place for it");
    let (join, foot) = rest.split_once("{{script}}").expect("page.html has a place for it");
    [head, STYLE, body, &data, join, &script, foot].concat()
}

/// What the page is given, in the form in which `trace.js` reads it.
#[derive(Serialize)]
struct Content<'t> {
    title: &'t str,
    subtitle: &'t str,
    command: &'t str,
    kinds: [Kind; KINDS.len()],
    lanes: Vec<Lane>,
    events: Vec<Row<'t>>,
    spans: Vec<Shade>,
    tenures: Vec<Stretch>,
}

/// An event: its time, lane, kind, cause and text; its id is its position, from 1.
type Row<'t> = (Micros, usize, usize, EventId, &'t str);

/// A time of trouble: what, in which lane, with which other lane, from when until when.
type Shade = (&'static str, usize, Option<usize>, Micros, Micros);

/// A server's lane, what the server was, and from which event until which.
type Stretch = (usize, &'static str, EventId, EventId);

impl<'t> Content<'t> {
    fn new(trace: &'t Trace, heading: &'t Heading) -> Self {
        let lanes = Lanes::new(trace, heading);
        let row = |event: &'t Event| {
            let lane = lanes.position(event.lane);
            (event.time, lane, event.kind as usize, event.cause, event.text.as_str())
        };
        let tenure = |tenure: Tenure| {
            let lane = lanes.position(Lane::Server(tenure.server));
            (lane, name(tenure.standing), tenure.from, tenure.until)
        };
        Content {
            title: &heading.title,
            subtitle: &heading.subtitle,
            command: &heading.command,
            kinds: KINDS,
            events: trace.events().iter().map(row).collect(),
            spans: trace.spans().iter().map(|span| lanes.shade(span)).collect(),
            tenures: (1..=heading.servers).flat_map(|s| trace.tenures(s)).map(tenure).collect(),
            lanes: lanes.0.into_keys().collect(),
        }
    }
}

/// The lanes in the order in which they stand: the world, the servers, the clients.
struct Lanes(BTreeMap<Lane, usize>);

impl Lanes {
    fn new(trace: &Trace, heading: &Heading) -> Self {
        let servers = (1..=heading.servers).map(Lane::Server);
        let clients = (1..=heading.clients).map(Lane::Client);
        let seen = trace.events().iter().map(|event| event.lane);
        let troubled = trace.spans().iter().flat_map(|span| ends(span.trouble));
        let all = servers.chain(clients).chain(seen).chain(troubled).chain([Lane::World]);
        let mut lanes: BTreeMap<Lane, usize> = all.map(|lane| (lane, 0)).collect();
        lanes.values_mut().enumerate().for_each(|(n, position)| *position = n);
        Lanes(lanes)
    }

    fn position(&self, lane: Lane) -> usize {
        *self.0.get(&lane).expect("every lane of the trace and of the heading is there")
    }

    fn shade(&self, span: &Span) -> Shade {
        let what = match span.trouble {
            Trouble::Pause(_) => "pause",
            Trouble::Stall(_) => "stall",
            Trouble::Cut(_) | Trouble::ClientCut(..) => "cut",
        };
        let mut ends = ends(span.trouble).map(|lane| self.position(lane));
        let lane = ends.next().expect("trouble has a place");
        (what, lane, ends.next(), span.from, span.until)
    }
}

/// Where there is trouble: one lane, or both ends of a link.
fn ends(trouble: Trouble) -> impl Iterator<Item = Lane> {
    let (first, second) = match trouble {
        Trouble::Pause(server) | Trouble::Stall(server) => (Lane::Server(server), None),
        Trouble::Cut((from, to)) => (Lane::Server(from), Some(Lane::Server(to))),
        Trouble::ClientCut(client, server) => (Lane::Client(client), Some(Lane::Server(server))),
    };
    [first].into_iter().chain(second)
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Down => "down",
        Standing::Follower => "follower",
        Standing::Candidate => "candidate",
        Standing::Leader => "leader",
    }
}

/// All kinds of events, in the order of their declaration.
const KINDS: [Kind; 14] = [
    Kind::Start,
    Kind::Crash,
    Kind::Fault,
    Kind::Heal,
    Kind::Role,
    Kind::Commit,
    Kind::Apply,
    Kind::Persist,
    Kind::Persisted,
    Kind::Send,
    Kind::Receive,
    Kind::Lose,
    Kind::Note,
    Kind::Violation,
];

const SKELETON: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("trace.js"),
    include_str!("sign.js"),
    include_str!("draw.js"),
    include_str!("map.js"),
    include_str!("page.js"),
];

#[cfg(test)]
mod tests;
