//! The socket below HTTP and WebSocket: what is read before anybody has parsed it is counted against the memory of all
//! requests, and what HTTP answers by itself to a head that it cannot read becomes a problem document.
//!
//! Bodies are not counted here but where they are read (`body.rs`): their readers can answer when there is no room.
//! What HTTP holds of them meanwhile is two pieces, one on its way to the reader and one behind it. The frames of a
//! WebSocket are counted by whoever knows where they end (`frames.rs`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::ahead::Ahead;
use crate::body::LINGER;
use crate::head;
use crate::memory::{FREE_BYTES, Held, Memory};
use crate::transport::Transport;

/// Largest piece that is read at once. What HTTP reads at once would grow with what it gets to 256 KiB, and a piece is in
/// memory before anybody can ask for room for it.
const READ_BYTES_MAX: usize = 16 << 10;

/// Most bytes that are thrown away of a client that was answered before it had sent everything: what comes in [`LINGER`]
/// over 256 Mbit/s. Who has more to send than that is reset.
const LINGER_BYTES_MAX: usize = 64 << 20;

/// Who reads from the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Reader {
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
    ahead: Mutex<Ahead>,
    held: Mutex<Held>,
}

impl Wire {
    pub(crate) fn new(memory: Arc<Memory>) -> Arc<Self> {
        let (reader, unparsed) = (AtomicU8::new(Reader::Head as u8), AtomicUsize::new(0));
        Arc::new(Self { memory, reader, unparsed, ahead: Mutex::default(), held: Mutex::default() })
    }

    /// HTTP waits for a head, of which some may be there already.
    pub(crate) fn hand_to_head(&self) {
        let behind = lock(&self.ahead).waits();
        self.hand_to(Reader::Head, behind);
    }

    /// HTTP has read a head; a body of this length follows, if that is known.
    pub(crate) fn hand_to_body(&self, length: Option<u64>) {
        lock(&self.ahead).begins(length);
        self.hand_to(Reader::Body, 0);
    }

    /// A WebSocket reads from now on.
    pub(crate) fn hand_to_frames(&self) {
        self.hand_to(Reader::Frames, 0);
    }

    fn hand_to(&self, reader: Reader, unparsed: usize) {
        self.reader.store(reader as u8, Ordering::Relaxed);
        self.set_unparsed(unparsed);
    }

    /// So much of what was read is not parsed; the rest is no longer counted here.
    pub(crate) fn set_unparsed(&self, bytes: usize) {
        let before = self.unparsed.swap(bytes, Ordering::Relaxed);
        if before >= FREE_BYTES && bytes < before {
            lock(&self.held).shrink(bytes);
        }
    }

    fn was_read(&self, bytes: &[u8]) {
        if !self.is_read_by(Reader::Frames) {
            lock(&self.ahead).read(bytes);
        }
        if self.is_read_by(Reader::Head) {
            self.unparsed.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    }

    /// Bytes that were read and are not parsed yet.
    pub(crate) fn unparsed(&self) -> usize {
        self.unparsed.load(Ordering::Relaxed)
    }

    /// Whether the client may still be sending what nobody reads: the body of a request that was answered early.
    fn is_cut_short(&self) -> bool {
        self.is_read_by(Reader::Body) && !lock(&self.ahead).has_ended()
    }

    fn is_read_by(&self, reader: Reader) -> bool {
        self.reader.load(Ordering::Relaxed) == reader as u8
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Room = Pin<Box<dyn Future<Output = Option<Held>> + Send>>;

/// A connection that counts.
pub(crate) struct Socket {
    stream: Transport,
    wire: Arc<Wire>,
    /// Waits for room.
    room: Option<Room>,
    /// What is written in the place of an answer of HTTP's own.
    refusal: Option<Refusal>,
    /// After the last answer, while the client may still send what nobody reads.
    lingering: Option<Lingering>,
}

struct Refusal {
    answer: Bytes,
    written: usize,
}

/// What is still read of a client that was answered, and thrown away.
struct Lingering {
    end: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Lingering {
    fn new() -> Self {
        Self { end: Box::pin(sleep(LINGER)), bytes_left: LINGER_BYTES_MAX }
    }

    /// Reads and throws away until the client ends or has had its time or its bytes.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<io::Result<()>> {
        let mut thrown_away = [0; 4 << 10];
        loop {
            // First, since there may always be something to read.
            if self.bytes_left == 0 || self.end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut thrown_away);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.bytes_left = self.bytes_left.saturating_sub(buffer.filled().len());
        }
    }
}

impl Socket {
    pub(crate) fn new(stream: Transport, wire: Arc<Wire>) -> Self {
        Self { stream, wire, room: None, refusal: None, lingering: None }
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
                lock(&self.wire.held).join(taken);
            }
            let mut held = lock(&self.wire.held);
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

    /// Reads no more than the largest piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() <= READ_BYTES_MAX {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(READ_BYTES_MAX));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        let length = piece.filled().len();
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }

    /// Whether these bytes are an answer that HTTP gives by itself; from then on they are replaced.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none()
            && self.wire.is_read_by(Reader::Head)
            && let Some(answer) = head::refusal(bytes)
        {
            self.refusal = Some(Refusal { answer, written: 0 });
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
        if !self.wire.is_read_by(Reader::Body) {
            ready!(self.poll_room(cx))?;
        }
        let before = buffer.filled().len();
        ready!(self.poll_piece(cx, buffer))?;
        self.wire.was_read(&buffer.filled()[before..]);
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

    /// After an early answer the rest is read and thrown away for a while: a connection that is closed with unread bytes
    /// is reset, and the client would never see the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let Self { stream, wire, refusal, lingering, .. } = &mut *self;
        if refusal.is_none() && lingering.is_none() && !wire.is_cut_short() {
            return Poll::Ready(Ok(()));
        }
        lingering.get_or_insert_with(Lingering::new).poll(cx, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::Patient;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn who_always_has_something_to_read_does_not_outlive_the_linger() {
        let mut client = tokio::io::repeat(b'x');
        for (ms, bytes_left) in [(5, usize::MAX), (u64::from(u32::MAX), 1 << 20)] {
            let mut lingering = Lingering { end: Box::pin(sleep(Duration::from_millis(ms))), bytes_left };
            let thrown_away = poll_fn(|cx| lingering.poll(cx, &mut client));
            tokio::time::timeout(Duration::from_secs(10), thrown_away).await.expect("this is stuck").unwrap();
        }
    }

    #[tokio::test]
    async fn no_more_than_a_piece_is_read_at_once_however_large_the_buffer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(&[b'x'; 2 * READ_BYTES_MAX]).await.unwrap();
        let wire = Wire::new(Arc::new(Memory::new(1 << 20, Duration::ZERO)));
        let stream = Patient::new(listener.accept().await.unwrap().0, Duration::MAX);
        let mut socket = Socket::new(Transport::Plain(stream), Arc::clone(&wire));
        let mut buffer = vec![0; 256 << 10];
        let mut all = 0;
        while all < 2 * READ_BYTES_MAX {
            let read = socket.read(&mut buffer).await.unwrap();
            assert!((1..=READ_BYTES_MAX).contains(&read), "{read}");
            all += read;
        }
        assert_eq!(wire.unparsed(), all);
        wire.hand_to_body(None);
        assert_eq!(wire.unparsed(), 0);
    }
}
