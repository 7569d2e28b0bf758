//! `shed_connections`: some clients are sent elsewhere. Source: `zookeeper:
//! Commands.ShedConnectionsCommand`, `ServerCnxnFactory.shedConnections`.

use hyper::{Response, StatusCode};
use serde_json::Value;
use tracing::info;

use super::body::{Body, RequestBody};
use super::command::Command;
use super::desk::{Desk, failed, json};
use crate::launch::random;

impl Desk {
    pub(super) async fn shed(&self, body: RequestBody) -> Response<Body> {
        let percent = match asked(body).await {
            Ok(percent) => percent,
            Err(why) => return failed(Command::ShedConnections, StatusCode::BAD_REQUEST, &why),
        };
        let seed = match random() {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(why) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return failed(Command::ShedConnections, status, &why);
            }
        };
        let n_shed = self.handle.shed(percent, seed);
        info!("{n_shed} client connections were ended, as an operator wished ({percent} %)");
        json(Command::ShedConnections, StatusCode::OK, |json| {
            json.put("connections_shed", n_shed);
            json.put("percentage_requested", percent);
        })
    }
}

/// The percentage in a request's body. An `Err` is what the asker hears.
async fn asked(body: RequestBody) -> Result<u32, String> {
    if body.is_empty() {
        return Err("Request body is required".to_owned());
    }
    let unread = |why: String| format!("Invalid JSON or failed to read request body: {why}");
    let bytes = body.whole(MAX_BODY_BYTES).await.map_err(|error| unread(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| unread(error.to_string()))?;
    percentage(&value)
}

/// Numbers lose what is behind the point, and what is no number counts as 0, as Jackson has it.
fn percentage(value: &Value) -> Result<u32, String> {
    let Some(found) = value.get("percentage") else {
        return Err("Missing required field: percentage".to_owned());
    };
    let number = match found {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => text.trim().parse().unwrap_or(0.0),
        Value::Bool(is_one) => f64::from(u8::from(*is_one)),
        Value::Null | Value::Array(_) | Value::Object(_) => 0.0,
    };
    let number = number.trunc();
    // Nothing but 0 to 100 is left, so that no digit is lost.
    (0.0..=100.0)
        .contains(&number)
        .then_some(number as u32)
        .ok_or_else(|| "Percentage must be between 0 and 100".to_owned())
}

/// The body is a few words.
const MAX_BODY_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_from_0_to_100() {
        let found = |text: &str| percentage(&serde_json::from_str(text).unwrap());
        for (text, percent) in [("0", 0), ("100", 100), ("99.9", 99), ("\"7\"", 7), ("null", 0)] {
            assert_eq!(found(&format!("{{\"percentage\":{text}}}")), Ok(percent), "{text}");
        }
        for text in ["-1", "101", "1e300", "-5.5"] {
            let wrong = Err("Percentage must be between 0 and 100".to_owned());
            assert_eq!(found(&format!("{{\"percentage\":{text}}}")), wrong, "{text}");
        }
        for text in ["{}", "[1]", "5", "\"percentage\""] {
            assert_eq!(found(text), Err("Missing required field: percentage".to_owned()));
        }
    }
}
