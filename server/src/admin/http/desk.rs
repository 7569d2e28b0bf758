//! From a request to its answer.
//!
//! Invariant: what a command does not need is not looked at: neither the body of who may not send
//! one, nor facts for who may not have them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::sync::Semaphore;
use zokor_net::runtime::{Detail, Handle};

use super::Plans;
use super::body::{Body, RequestBody};
use super::command::Command;
use super::guests::Busy;
use super::json::Json;
use super::limiter::Limiter;
use super::{fields, lists, visitor};
use crate::admin::{MetricsExposition, Words};
use crate::config::AdminHttp;

/// What is behind a port.
#[derive(Clone)]
pub(super) enum Site {
    /// The admin server.
    Admin(Arc<Desk>),
    /// Metrics alone.
    Metrics { handle: Handle, words: Arc<Words>, exposition: MetricsExposition },
}

/// Answers the commands of the admin server.
pub(super) struct Desk {
    pub(super) plans: Plans,
    pub(super) admin: AdminHttp,
    pub(super) handle: Handle,
    pub(super) words: Arc<Words>,
    pub(super) snapshots: Limiter,
    /// Snapshots are taken one after the other: each walks over everything.
    pub(super) one_snapshot: Arc<Semaphore>,
    pub(super) restores: Limiter,
}

/// Who asks.
struct Asker<'a> {
    headers: &'a HeaderMap,
    from: SocketAddr,
    busy: &'a mut Busy,
}

impl Site {
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
        patience: Duration,
        busy: &mut Busy,
    ) -> Response<Body> {
        // It would tell a browser's script what it may not see.
        if request.method() == Method::TRACE {
            return text(StatusCode::FORBIDDEN, "");
        }
        match self {
            Site::Admin(desk) => desk.respond(request, from, patience, busy).await,
            Site::Metrics { handle, words, exposition } => {
                if request.uri().path() != "/metrics" {
                    return text(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
                }
                match *request.method() {
                    Method::GET | Method::HEAD => metrics(handle, words, *exposition),
                    _ => not_allowed("GET, HEAD"),
                }
            }
        }
    }
}

impl Desk {
    pub(super) fn new(plans: Plans, admin: AdminHttp, handle: Handle, words: Arc<Words>) -> Self {
        Desk {
            // ZooKeeper takes the milliseconds of this one for microseconds.
            snapshots: Limiter::new(admin.limit_interval / 1_000),
            restores: Limiter::new(admin.limit_interval),
            one_snapshot: Arc::new(Semaphore::new(1)),
            plans,
            admin,
            handle,
            words,
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
        patience: Duration,
        busy: &mut Busy,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if head.uri.path() == "/metrics" && is_read {
            return metrics(&self.handle, &self.words, MetricsExposition::default());
        }
        let Some(rest) = head.uri.path().strip_prefix(&*self.admin.command_url) else {
            return self.not_found();
        };
        if head.method == Method::OPTIONS {
            return allowed(StatusCode::OK, "GET, HEAD, POST, OPTIONS");
        }
        if !is_read && head.method != Method::POST {
            return not_allowed("GET, HEAD, POST, OPTIONS");
        }
        match rest.strip_prefix('/') {
            None if !rest.is_empty() => self.not_found(),
            None | Some("") => self.links(),
            Some(name) => {
                let (name, body) = (decoded(name), RequestBody::new(body, patience));
                let asker = Asker { headers: &head.headers, from, busy };
                self.run(&name, is_read, &head.uri, asker, body).await
            }
        }
    }

    /// The order of the checks is ZooKeeper's (`Commands.runCommand`).
    async fn run(
        &self,
        name: &str,
        is_read: bool,
        uri: &Uri,
        asker: Asker<'_>,
        body: RequestBody,
    ) -> Response<Body> {
        let Some(command) = Command::of(name) else {
            let error = format!("Unknown command: {name}");
            return failed_as(name, StatusCode::OK, &error);
        };
        if is_read == command.is_posted() {
            let (verb, verbs) =
                if command.is_posted() { ("POST", "POST") } else { ("GET", "GET, HEAD") };
            let why = format!("{} is asked by {verb}", command.name());
            let mut response = failed(command, StatusCode::METHOD_NOT_ALLOWED, &why);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(verbs));
            return response;
        }
        if command.needs_service() && !self.handle.facts(Detail::Plain).stats.serving {
            let why = "This ZooKeeper instance is not currently serving requests";
            return failed(command, StatusCode::OK, why);
        }
        if command.needs_permission() {
            let (auth, acl) = (&self.plans.auth, self.handle.root_acl());
            let Asker { headers, from, .. } = asker;
            let admitted = visitor::admit(headers, from, auth, &acl, self.plans.skips_acl);
            if let Err((status, why)) = admitted {
                return failed(command, status, why);
            }
        }
        let argument = |key: &str| argument(uri, key);
        match command {
            Command::Restore => self.restore(body, asker.busy).await,
            Command::ShedConnections => self.shed(body).await,
            Command::Snapshot => {
                let streams = argument("streaming");
                let streams = streams.is_none_or(|text| text.eq_ignore_ascii_case("true"));
                self.snapshot(streams, asker.busy).await
            }
            command if lists::is_list(command) => {
                let mut json = Json::default();
                json.begin_object();
                if command == Command::Stats {
                    fields::put(self, Command::ServerStats, &mut json, argument);
                }
                let tick_time_ms = self.words.settings().tick_time_ms;
                let body = lists::answer(command, json, self.handle.clone(), tick_time_ms);
                of_json(StatusCode::OK, body)
            }
            command => {
                let mut error = None;
                let put = |json: &mut Json| error = fields::put(self, command, json, argument);
                let json = in_object(put);
                match error {
                    None => json_of(command.name(), StatusCode::OK, json, None),
                    Some(why) => json_of(command.name(), StatusCode::OK, json, Some(&why)),
                }
            }
        }
    }

    /// A page with a link for each command.
    fn links(&self) -> Response<Body> {
        let url = &self.admin.command_url;
        let link = |command: &Command| {
            let name = command.name();
            format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n")
        };
        let page: String = Command::ALL.iter().map(link).collect();
        let mut response = Response::new(Body::whole(page));
        let html = HeaderValue::from_static("text/html;charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        response
    }

    fn not_found(&self) -> Response<Body> {
        let commands = &self.admin.command_url;
        text(StatusCode::NOT_FOUND, &format!("commands are at {commands}, metrics at /metrics\n"))
    }
}

/// The first value of an argument behind the question mark.
fn argument(uri: &Uri, key: &str) -> Option<String> {
    let mut pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(found, _)| *found == key).map(|(_, value)| decoded(value))
}

/// A part of a URL with what stands there by its number, as `%22` for a quote.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let is_hex = |hex: &&[u8; 2]| first == b'%' && hex.iter().all(u8::is_ascii_hexdigit);
        let hex = behind.first_chunk::<2>().filter(is_hex);
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All metrics.
fn metrics(handle: &Handle, words: &Words, exposition: MetricsExposition) -> Response<Body> {
    let facts = handle.facts(Detail::Counts);
    let mut response = Response::new(Body::whole(words.exposition(&facts, exposition)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The answer to a command that was carried out.
pub(super) fn json(
    command: Command,
    status: StatusCode,
    put: impl FnOnce(&mut Json),
) -> Response<Body> {
    json_of(command.name(), status, in_object(put), None)
}

/// The answer to a command that was not.
pub(super) fn failed(command: Command, status: StatusCode, why: &str) -> Response<Body> {
    failed_as(command.name(), status, why)
}

fn failed_as(name: &str, status: StatusCode, why: &str) -> Response<Body> {
    json_of(name, status, in_object(|_| {}), Some(why))
}

/// An object that is not ended.
fn in_object(put: impl FnOnce(&mut Json)) -> Json {
    let mut json = Json::default();
    json.begin_object();
    put(&mut json);
    json
}

fn json_of(name: &str, status: StatusCode, mut json: Json, error: Option<&str>) -> Response<Body> {
    json.put_text("command", name);
    match error {
        Some(error) => json.put_text("error", error),
        None => json.put("error", "null"),
    }
    json.end();
    of_json(status, Body::whole(json.take()))
}

fn of_json(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::whole(text.to_owned()));
    *response.status_mut() = status;
    if !text.is_empty() {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
    }
    response
}

fn not_allowed(verbs: &'static str) -> Response<Body> {
    allowed(StatusCode::METHOD_NOT_ALLOWED, verbs)
}

fn allowed(status: StatusCode, verbs: &'static str) -> Response<Body> {
    let mut response = text(status, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(verbs));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_by_its_number_is_read() {
        for (text, expected) in [
            ("a%22b", "a\"b"),
            ("%41%c3%A4", "A\u{e4}"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%+1", "%zz%+1"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }

    #[test]
    fn an_argument_is_found_by_its_name() {
        let uri: Uri = "/commands/x?a=1&b&traceMask=%350&a=2".parse().unwrap();
        let found = |key: &str| argument(&uri, key);
        assert_eq!(found("a").as_deref(), Some("1"));
        assert_eq!(found("b").as_deref(), Some(""));
        assert_eq!(found("traceMask").as_deref(), Some("50"));
        assert_eq!(found("c"), None);
    }
}
