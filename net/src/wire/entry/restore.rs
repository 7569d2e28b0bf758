//! Restores as bytes. `ENTRY.md` describes them with all other actions.

use bytes::{BufMut, BytesMut};
use zokor_core::db::{Action, ImageNode, RestoreStep, RestoredSession};
use zokor_core::id::{Nonce, Sequence, SessionId, Token};

use super::super::WireError;
use super::super::compact::{
    Reader, put_count, put_fixed, put_optional_buffer, put_signed, put_text, put_varint,
};
use super::super::image::{put_stat, take_stat};
use super::{ABANDON_RESTORE, BEGIN_RESTORE, RESTORE_END, RESTORE_PIECE, put_acl, take_acl};

/// What an action of this kind is, if it is one.
pub(super) enum Kind {
    Begin,
    Piece,
    End,
    Abandon,
}

/// Appends an action of a restore; nothing of another one.
pub(super) fn put(out: &mut BytesMut, action: &Action) {
    match action {
        Action::BeginRestore { replaces, nonce } => {
            out.put_u8(BEGIN_RESTORE);
            put_signed(out, replaces.0);
            put_fixed(out, nonce.0);
        }
        Action::Restore { token, number, step } => {
            out.put_u8(match step {
                RestoreStep::Piece { .. } => RESTORE_PIECE,
                RestoreStep::End { .. } => RESTORE_END,
            });
            put_place(out, *token, *number);
            put_step(out, step);
        }
        Action::AbandonRestore { token, number } => {
            out.put_u8(ABANDON_RESTORE);
            put_place(out, *token, *number);
        }
        _ => {}
    }
}

fn put_place(out: &mut BytesMut, token: Token, number: Sequence) {
    put_signed(out, token.0);
    put_varint(out, number.0);
}

fn put_step(out: &mut BytesMut, step: &RestoreStep) {
    match step {
        RestoreStep::Piece { sessions, znodes } => {
            put_count(out, sessions.len());
            for session in sessions {
                put_fixed(out, session.id.0 as u64);
                out.put_slice(&session.password);
                put_signed(out, i64::from(session.timeout_ms));
            }
            put_count(out, znodes.len());
            for znode in znodes {
                put_text(out, &znode.path);
                put_optional_buffer(out, znode.data.as_deref());
                put_acl(out, &znode.acl);
                put_stat(out, &znode.stat);
            }
        }
        RestoreStep::End { n_sessions, n_znodes, digest } => {
            put_varint(out, *n_sessions);
            put_varint(out, *n_znodes);
            put_fixed(out, *digest);
        }
    }
}

/// The action of this kind.
pub(super) fn take(kind: Kind, reader: &mut Reader) -> Result<Action, WireError> {
    if let Kind::Begin = kind {
        let replaces = Token(reader.signed("replaced token")?);
        return Ok(Action::BeginRestore { replaces, nonce: Nonce(reader.fixed("nonce")?) });
    }
    let token = Token(reader.signed("token")?);
    let number = Sequence(reader.varint("number of a step")?);
    let step = match kind {
        Kind::Begin | Kind::Abandon => return Ok(Action::AbandonRestore { token, number }),
        Kind::Piece => take_piece(reader)?,
        Kind::End => RestoreStep::End {
            n_sessions: reader.varint("number of sessions")?,
            n_znodes: reader.varint("number of znodes")?,
            digest: reader.fixed("digest")?,
        },
    };
    Ok(Action::Restore { token, number, step })
}

fn take_piece(reader: &mut Reader) -> Result<RestoreStep, WireError> {
    const MIN_SESSION: usize = 25;
    const MIN_ZNODE: usize = 12;
    let count = reader.count("sessions", MIN_SESSION)?;
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        sessions.push(RestoredSession {
            id: SessionId(reader.fixed("session")? as i64),
            password: reader.array("password")?,
            timeout_ms: reader.signed32("session timeout")?,
        });
    }
    let count = reader.count("znodes", MIN_ZNODE)?;
    let mut znodes = Vec::with_capacity(count);
    for _ in 0..count {
        let path = reader.text("path")?;
        let data = reader.optional_buffer("data")?;
        let acl = take_acl(reader)?;
        znodes.push(ImageNode { path, data, acl, stat: take_stat(reader)? });
    }
    Ok(RestoreStep::Piece { sessions, znodes })
}
