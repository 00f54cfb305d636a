//! The socket below HTTP and WebSocket: what is read before anybody has parsed it is counted against the memory of all
//! requests, and what HTTP answers by itself to a head that it cannot read becomes a problem document.
//!
//! Bodies are not counted here but where they are read (`body.rs`): their readers can answer when there is no room.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::body::LINGER;
use crate::head;
use crate::memory::{FREE_BYTES, Held, Memory};

/// Largest piece that is read at once without asking for room first. What HTTP reads at once grows with what it gets.
const READ_BYTES_MAX: usize = 64 << 10;

/// Who reads from the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reader {
    /// HTTP, the head of a request.
    Head,
    /// A handler, the body of a request.
    Body,
    /// A WebSocket.
    Frames,
}

/// What the layers of one connection know of each other. They all run in one task, so nothing here waits.
pub(crate) struct Wire {
    memory: Arc<Memory>,
    reader: AtomicU8,
    /// Bytes that were read and are not parsed yet.
    unparsed: AtomicUsize,
    held: Mutex<Held>,
}

impl Wire {
    pub(crate) fn new(memory: Arc<Memory>) -> Arc<Self> {
        let (reader, unparsed, held) = (AtomicU8::new(Reader::Head as u8), AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { memory, reader, unparsed, held })
    }

    /// Somebody else reads from now on, who begins with nothing.
    pub(crate) fn hand_to(&self, reader: Reader) {
        self.reader.store(reader as u8, Ordering::Relaxed);
        self.parsed();
    }

    /// What was read is parsed: it is no longer counted here.
    pub(crate) fn parsed(&self) {
        if self.unparsed.swap(0, Ordering::Relaxed) >= FREE_BYTES {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).shrink(0);
        }
    }

    /// Bytes that were read and are not parsed yet.
    pub(crate) fn unparsed(&self) -> usize {
        self.unparsed.load(Ordering::Relaxed)
    }

    fn is_read_by(&self, reader: Reader) -> bool {
        self.reader.load(Ordering::Relaxed) == reader as u8
    }
}

type Room = Pin<Box<dyn Future<Output = Option<Held>> + Send>>;

/// A connection that counts.
pub(crate) struct Socket {
    stream: TcpStream,
    wire: Arc<Wire>,
    /// Waits for room.
    room: Option<Room>,
    /// What is written in the place of an answer of HTTP's own.
    refusal: Option<Refusal>,
}

struct Refusal {
    answer: Bytes,
    written: usize,
    /// How long the client may still send what nobody reads.
    linger: Pin<Box<Sleep>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, wire: Arc<Wire>) -> Self {
        Self { stream, wire, room: None, refusal: None }
    }

    /// Ready when there is room for what was read and one more piece.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let unparsed = self.wire.unparsed();
        if unparsed < FREE_BYTES {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(room) = &mut self.room {
                let taken = ready!(room.as_mut().poll(cx));
                self.room = None;
                let Some(taken) = taken else {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::OutOfMemory, "no room in memory")));
                };
                self.wire.held.lock().unwrap_or_else(PoisonError::into_inner).join(taken);
            }
            let mut held = self.wire.held.lock().unwrap_or_else(PoisonError::into_inner);
            if self.wire.memory.try_cover(&mut held, unparsed + READ_BYTES_MAX) {
                return Poll::Ready(Ok(()));
            }
            let missing = (unparsed + READ_BYTES_MAX).saturating_sub(held.bytes());
            let memory = Arc::clone(&self.wire.memory);
            self.room = Some(Box::pin(async move {
                let mut more = Held::default();
                memory.cover(&mut more, missing.max(FREE_BYTES + 1)).await.ok().map(|()| more)
            }));
        }
    }

    /// Whether these bytes are an answer that HTTP gives by itself; from then on they are replaced.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none()
            && self.wire.is_read_by(Reader::Head)
            && let Some(answer) = head::refusal(bytes)
        {
            self.refusal = Some(Refusal { answer, written: 0, linger: Box::pin(sleep(LINGER)) });
        }
        self.refusal.is_some()
    }

    /// Writes what stands in the place of `length` bytes.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(Ok(length)) };
        while let rest @ [_, ..] = &refusal.answer[refusal.written..] {
            refusal.written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_read_by(Reader::Body) {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        ready!(self.poll_room(cx))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.wire.unparsed.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_replaced(bytes) {
            return self.poll_refuse(cx, bytes.len());
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && self.is_replaced(only)
        {
            return self.poll_refuse(cx, only.len());
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// After a refusal the rest is read and thrown away for a while: a connection that is closed with unread bytes is
    /// reset, and the client would never see the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let Self { stream, refusal: Some(refusal), .. } = &mut *self else { return Poll::Ready(Ok(())) };
        let mut thrown_away = [0; 4 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return refusal.linger.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
