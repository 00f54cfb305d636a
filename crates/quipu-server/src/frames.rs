//! The bytes of a WebSocket on their way to whoever parses them: what of them belongs to a message that is not whole yet
//! is counted against the memory of all requests, for however long it takes, and it may not take long.
//!
//! Frames are only followed here, from the first byte behind the handshake; whether they are right is seen above.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::patience::Patience;
use crate::socket::Wire;

/// A connection on which frames come in.
pub(crate) struct Frames<S> {
    stream: S,
    wire: Arc<Wire>,
    count: Count,
    patience: Patience,
    /// The wait for the rest of a message.
    wait: Option<Wait>,
    /// Bytes of what was last to be written that the connection did not take.
    unwritten: usize,
}

struct Wait {
    begin: Instant,
    end: Pin<Box<Sleep>>,
}

impl<S> Frames<S> {
    /// `pause_max` is how long a client may pause within a message.
    pub(crate) fn new(stream: S, wire: Arc<Wire>, pause_max: Duration) -> Self {
        Self { stream, wire, count: Count::default(), patience: Patience::new(pause_max), wait: None, unwritten: 0 }
    }

    /// The whole messages that were read are dealt with. A few short ones may still be unread above.
    pub(crate) fn taken(&mut self) {
        self.count.whole = 0;
        self.wire.set_unparsed(self.count.bytes());
    }

    /// Whether the connection took all that was to be written: the next byte begins a frame.
    pub(crate) fn is_written(&self) -> bool {
        self.unwritten == 0
    }

    /// How the client was waited for.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    fn was_read(&mut self, bytes: &[u8]) {
        let messages = self.count.messages;
        self.count.read(bytes);
        self.wire.set_unparsed(self.count.bytes());
        let Some(wait) = self.wait.take() else { return };
        let waited = wait.begin.elapsed();
        // After all the time that was left nobody had looked: then it was not the client who was late.
        if self.count.messages > messages || waited >= self.patience.left() {
            self.patience.renew();
        } else {
            self.patience.spend(waited, bytes.len());
        }
    }

    /// Nothing has come: ready with an error if it has not for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.count.is_within_message() {
            return Poll::Pending;
        }
        let left = self.patience.left();
        let wait = self.wait.get_or_insert_with(|| Wait { begin: Instant::now(), end: Box::pin(sleep(left)) });
        wait.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                self.was_read(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_late(cx),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unwritten = bytes.len() - if let Poll::Ready(Ok(count)) = written { count } else { 0 };
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Follows frames (RFC 6455, section 5.2).
#[derive(Default)]
struct Count {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// Of the frame's payload so much has to come yet.
    left: u64,
    /// Bytes of the frame that is not whole.
    frame: u64,
    /// Bytes of the whole frames of a message that is not whole.
    fragments: u64,
    is_fragmented: bool,
    /// Bytes of whole messages that nobody has dealt with yet.
    whole: u64,
    /// How many messages were whole; pings and the like are none.
    messages: u64,
}

/// Two bytes, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

impl Count {
    fn bytes(&self) -> usize {
        usize::try_from(self.frame + self.fragments + self.whole).unwrap_or(usize::MAX)
    }

    fn is_within_message(&self) -> bool {
        self.frame > 0 || self.is_fragmented
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = if self.left > 0 {
                let used = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= used as u64;
                used
            } else {
                self.head[self.head_bytes] = bytes[0];
                self.head_bytes += 1;
                self.left = self.payload().unwrap_or(0);
                1
            };
            self.frame += used as u64;
            bytes = &bytes[used..];
            if self.left == 0 && self.payload().is_some() {
                self.end();
            }
        }
    }

    /// How long the payload is, once the head of the frame is whole.
    fn payload(&self) -> Option<u64> {
        let head = &self.head[..self.head_bytes];
        let [_, second, rest @ ..] = head else { return None };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            length => return (rest.len() >= mask).then_some(u64::from(length)),
        };
        (rest.len() >= length + mask).then(|| rest[..length].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// The frame is whole.
    fn end(&mut self) {
        let (is_last, is_control) = (self.head[0] & 0x80 != 0, self.head[0] & 0x08 != 0);
        let frame = std::mem::take(&mut self.frame);
        if is_control {
            self.whole += frame;
        } else if is_last {
            self.whole += frame + std::mem::take(&mut self.fragments);
            self.is_fragmented = false;
            self.messages += 1;
        } else {
            // Without its head, of which nothing is kept: a message of empty fragments takes no memory.
            self.fragments += frame - self.head_bytes as u64;
            self.is_fragmented = true;
        }
        self.head_bytes = 0;
    }
}

/// What is held of frames that came in these pieces, bytes, and how many messages of them are whole.
pub fn count<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, u64) {
    let mut count = Count::default();
    pieces.for_each(|piece| count.read(piece));
    (count.bytes(), count.messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a mask of zeros.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = match payload {
            0..126 => vec![first, 0x80 | payload as u8],
            126..65_536 => [vec![first, 0xfe], (payload as u16).to_be_bytes().to_vec()].concat(),
            _ => [vec![first, 0xff], (payload as u64).to_be_bytes().to_vec()].concat(),
        };
        bytes.extend(vec![0; 4 + payload]);
        bytes
    }

    const TEXT: u8 = 0x81;
    const BEGIN: u8 = 0x01;
    const MORE: u8 = 0x00;
    const END: u8 = 0x80;
    const PING: u8 = 0x89;

    #[test]
    fn what_is_not_whole_is_counted_until_it_is() {
        for (name, frames, cut, not_whole, messages) in [
            ("nothing", vec![], 0, 0, 0),
            ("a whole one", vec![frame(TEXT, 10)], 0, 0, 1),
            ("an empty one", vec![frame(TEXT, 0)], 0, 0, 1),
            ("half a head", vec![frame(TEXT, 10)], 11, 5, 0),
            ("a medium one, cut", vec![frame(TEXT, 200)], 1, 207, 0),
            ("a whole one and most of a large one", vec![frame(TEXT, 10), frame(TEXT, 70_000)], 1, 70_013, 1),
            ("a fragment", vec![frame(BEGIN, 300)], 0, 300, 0),
            ("a fragment and a ping", vec![frame(BEGIN, 300), frame(PING, 5)], 0, 300, 0),
            ("fragments, the last cut", vec![frame(BEGIN, 3), frame(MORE, 4), frame(END, 5)], 1, 17, 0),
            ("fragments to the end", vec![frame(BEGIN, 3), frame(MORE, 0), frame(END, 5)], 0, 0, 1),
        ] {
            let bytes = frames.concat();
            let bytes = &bytes[..bytes.len() - cut];
            for piece in [1, 7, 4_096] {
                let mut count = Count::default();
                bytes.chunks(piece).for_each(|piece| count.read(piece));
                count.whole = 0;
                assert_eq!((count.bytes(), count.messages), (not_whole, messages), "{name} in pieces of {piece}");
                assert_eq!(count.is_within_message(), not_whole > 0, "{name}");
            }
        }
    }

    #[test]
    fn whole_messages_count_until_they_are_taken() {
        let mut count = Count::default();
        count.read(&frame(TEXT, 10));
        count.read(&frame(PING, 0));
        assert_eq!(count.bytes(), 16 + 6);
    }
}
