//! What the page holds, read as a browser reads it.

use serde_json::Value;

use super::*;

/// A small run with everything in it; `text` is said by an event.
fn story(text: &str) -> Trace {
    let mut trace = Trace::full();
    for server in 1..=2 {
        trace.note(1, Lane::Server(server), Kind::Start, || "starts".to_owned());
    }
    trace.note(2, Lane::Server(1), Kind::Role, || "LEADS in term 1".to_owned());
    let sent = trace.note(3, Lane::Server(1), Kind::Send, || text.to_owned());
    trace.caused(4, Lane::Server(2), Kind::Receive, sent, || "hears".to_owned());
    trace.note(5, Lane::Client(7), Kind::Note, || "a client".to_owned());
    trace.note(6, Lane::World, Kind::Violation, || "WRONG".to_owned());
    trace.trouble(Trouble::Cut((1, 2)), 2, 6);
    trace.trouble(Trouble::Pause(2), 3, 4);
    trace
}

fn heading() -> Heading {
    Heading { title: "Seed 0x1".to_owned(), servers: 2, clients: 1, ..Heading::default() }
}

/// The data within a page, as a browser reads it: up to the first end of the script.
fn embedded(page: &str) -> Value {
    let opening = "<script id=\"trace\" type=\"application/json\">";
    let (_, rest) = page.split_once(opening).expect("the page has data");
    let (data, _) = rest.split_once("</script").expect("the data has an end");
    serde_json::from_str(data).expect("the data is JSON")
}

#[test]
fn the_page_holds_every_event_once_and_reads_back() {
    let trace = story("Append");
    let data = embedded(&page(&trace, &heading()));
    let events = data["events"].as_array().unwrap();
    assert_eq!(events.len(), trace.events().len());
    for (row, event) in events.iter().zip(trace.events()) {
        let lane: &Value = &data["lanes"][row[1].as_u64().unwrap() as usize];
        let kind = &data["kinds"][row[2].as_u64().unwrap() as usize];
        assert_eq!(row[0], event.time);
        assert_eq!(*lane, serde_json::to_value(event.lane).unwrap());
        assert_eq!(*kind, serde_json::to_value(event.kind).unwrap());
        assert_eq!(row[3], event.cause);
        assert_eq!(row[4], event.text);
    }
}

#[test]
fn no_text_of_a_trace_is_markup() {
    for text in ["</script><script>alert(1)</script>", "<!--<script>", "\"'&\u{2028}\\"] {
        let title = format!("{text} in the title");
        let page = page(&story(text), &Heading { title: title.clone(), ..heading() });
        let data = embedded(&page);
        assert_eq!(data["events"][3][4], text);
        assert_eq!(data["title"], title);
        assert_eq!(page.matches("<script").count(), 2, "the page's own");
    }
}

#[test]
fn lanes_are_the_world_then_servers_then_clients_seen_or_not() {
    let data = embedded(&page(&story(""), &heading()));
    let lanes = serde_json::to_value([
        Lane::World,
        Lane::Server(1),
        Lane::Server(2),
        Lane::Client(1),
        Lane::Client(7),
    ]);
    assert_eq!(data["lanes"], lanes.unwrap());
}

#[test]
fn trouble_and_tenures_are_in_the_data() {
    let data = embedded(&page(&story(""), &heading()));
    assert_eq!(data["spans"], serde_json::json!([["cut", 1, 2, 2, 6], ["pause", 2, null, 3, 4]]));
    assert_eq!(data["tenures"][2], serde_json::json!([1, "leader", 3, 8]));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = page(&story(""), &heading());
    for link in ["http:", "https:", "src=", "href=", "@import", "fetch(", "{{"] {
        assert!(!page.contains(link), "{link}");
    }
}

#[test]
fn kinds_stand_at_their_places() {
    for (n, kind) in KINDS.into_iter().enumerate() {
        assert_eq!(kind as usize, n);
    }
}

#[test]
fn an_empty_trace_has_a_page() {
    let data = embedded(&page(&Trace::full(), &Heading::default()));
    assert_eq!(data["events"], serde_json::json!([]));
    assert_eq!(data["lanes"], serde_json::json!(["World"]));
}
