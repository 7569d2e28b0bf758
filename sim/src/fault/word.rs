//! What servers say to each other, in a word.
//!
//! Invariant: a word tells what a message is for, not what is in it.

use serde::{Deserialize, Serialize};
use zokor_core::raft::{Body, Index};
use zokor_core::replica::{Comparison, Message};

/// The kinds of messages at which something can be aimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Entries.
    Append,
    /// "All that I have got of you is durable."
    Acknowledge,
    /// A vote that is given.
    Vote,
    /// A snapshot.
    Snapshot,
    /// "The snapshot is durable and in force."
    SnapshotReply,
    /// What clients have asked for.
    Forward,
    /// The answer to a question for a read barrier.
    Readable,
    /// "Start an election now."
    TimeoutNow,
    /// "I am in doubt about my state. Send me yours."
    WantState,
}

impl Word {
    /// The word for a message, if there is one.
    pub fn of(message: &Message) -> Option<Word> {
        let message = match message {
            Message::Raft(message) => message,
            Message::Snapshot { .. } => return Some(Word::Snapshot),
            Message::Forward(_) => return Some(Word::Forward),
            Message::Compare(Comparison::WantState) => return Some(Word::WantState),
            Message::Heard(_) | Message::ShortOfRoom | Message::Compare(_) => return None,
        };
        match &message.body {
            Body::Append { entries, .. } => (!entries.is_empty()).then_some(Word::Append),
            Body::AppendReply { received, persisted } => {
                let all = received == persisted && *received > Index::ZERO;
                all.then_some(Word::Acknowledge)
            }
            Body::VoteReply { granted } => granted.then_some(Word::Vote),
            Body::SnapshotReply { .. } => Some(Word::SnapshotReply),
            Body::ReadIndexReply { index, .. } => index.map(|_| Word::Readable),
            Body::TimeoutNow => Some(Word::TimeoutNow),
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::AppendReject { .. }
            | Body::Heartbeat { .. }
            | Body::HeartbeatReply { .. }
            | Body::ReadIndex { .. }
            | Body::Seek { .. }
            | Body::Found { .. }
            | Body::NotFound { .. }
            | Body::SeekState { .. }
            | Body::AskIfNew { .. }
            | Body::IfNew { .. }
            | Body::FeedMe { .. }
            | Body::Feeding { .. }
            | Body::FedByOther { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use zokor_core::raft::{self, Term};

    use super::*;

    fn word(body: Body<zokor_core::db::Txn>) -> Option<Word> {
        Word::of(&Message::Raft(raft::Message { term: Term(1), body }))
    }

    #[test]
    fn an_acknowledgement_speaks_of_all_that_has_come() {
        let reply = |received, persisted| Body::AppendReply {
            received: Index(received),
            persisted: Index(persisted),
        };
        assert_eq!(word(reply(3, 3)), Some(Word::Acknowledge));
        assert_eq!(word(reply(3, 2)), None);
        assert_eq!(word(reply(0, 0)), None);
    }

    #[test]
    fn a_vote_that_is_refused_is_none() {
        assert_eq!(word(Body::VoteReply { granted: true }), Some(Word::Vote));
        assert_eq!(word(Body::VoteReply { granted: false }), None);
    }
}
