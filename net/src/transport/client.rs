//! The task of one client connection: reads, asks its port, writes.
//!
//! Invariants: one write a turn takes all that the turn brought; reading goes on while a write waits,
//! unless the port says otherwise; what is to be said before a close is written before it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::inbox::Inbox;

/// What a connection's owner decides. Never called across an await.
pub trait ClientPort: Send {
    /// Takes frames from `inbox`, and if `out` is empty puts into it what is to be written.
    fn turn(&mut self, inbox: &mut Inbox, out: &mut BytesMut) -> Turn;

    /// `n` bytes have gone out since the last call; may be 0.
    fn wrote(&mut self, n: usize);

    /// The socket has ended by itself.
    fn ended(&mut self, error: Option<io::Error>);
}

/// What a connection's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Write what there is, read, or wait to be woken.
    Serve {
        /// Whether to read now.
        reading: bool,
    },
    /// There is more in the inbox: let others have their turn, then ask again.
    Again,
    /// Write what there is; ask again when it has gone, or close if there was nothing.
    Finish,
    /// Close now.
    Cut,
}

/// Serves one connection until it ends. `wake` asks for a turn; `linger` is how long a finished
/// connection waits for the client to close first, so that its last words are not lost to a reset.
pub async fn attend<S, P>(stream: S, mut port: P, mut inbox: Inbox, wake: &Notify, linger: Duration)
where
    S: AsyncRead + AsyncWrite + Send,
    P: ClientPort,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut out = Outgoing::default();
    loop {
        let turn = port.turn(&mut inbox, &mut out.bytes);
        let (reading, yielding) = match turn {
            Turn::Cut => return,
            Turn::Finish if out.is_idle() => return part(reader, writer, linger).await,
            Turn::Finish => (false, false),
            Turn::Again => (false, true),
            Turn::Serve { reading } => (reading, false),
        };
        if yielding {
            tokio::task::yield_now().await;
        }
        let happened = tokio::select! {
            biased;
            written = out.advance(&mut writer), if !out.is_idle() => written.map(|()| false),
            () = std::future::ready(()), if yielding => Ok(false),
            read = inbox.fill(&mut reader), if reading => read.map(|n| n == 0),
            () = wake.notified() => Ok(false),
        };
        port.wrote(std::mem::take(&mut out.written));
        match happened {
            Ok(false) => {}
            Ok(true) => return port.ended(None),
            Err(error) => return port.ended(Some(error)),
        }
    }
}

/// Bytes on their way out.
#[derive(Default)]
struct Outgoing {
    bytes: BytesMut,
    /// Written, and not flushed: over TLS and in simulations the flush is what sends.
    unflushed: bool,
    /// How much has gone since the port was told.
    written: usize,
}

impl Outgoing {
    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Writes once, and flushes after the last byte. Nothing is lost if the future is dropped.
    async fn advance<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let n = writer.write_buf(&mut self.bytes).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += n;
            self.unflushed = true;
        }
        // With bytes left the flush comes later; a dropped flush is taken up in the next turn.
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }
}

/// Says that nothing more will come, and waits a little for the other side to agree.
async fn part<S: AsyncRead + AsyncWrite>(
    mut reader: ReadHalf<S>,
    mut writer: WriteHalf<S>,
    linger: Duration,
) {
    if linger.is_zero() || writer.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut scratch = [0; 1024];
        for _ in 0..MAX_DRAINED_READS {
            if !matches!(reader.read(&mut scratch).await, Ok(n) if n > 0) {
                return;
            }
        }
    };
    let _ = timeout(linger, drain).await;
}

/// A client that goes on talking after its connection is finished is not listened to for ever.
const MAX_DRAINED_READS: usize = 1024;
