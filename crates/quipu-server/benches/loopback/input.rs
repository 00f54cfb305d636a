//! The blocking end of a connection: what was read and not used yet.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::loopback::wire;

/// Longer than any answer should take; a load that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// There is room for this much before each read.
const READ_BYTES: usize = 64 << 10;

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

pub fn open_websocket(address: SocketAddr) -> Input {
    let mut input = Input::new(connect(address));
    input.stream.write_all(&wire::upgrade(address)).expect("written");
    input.skip_to(b"\r\n\r\n");
    input
}

/// Bytes that were read and not used yet.
pub struct Input {
    pub stream: TcpStream,
    bytes: Vec<u8>,
    pub used: usize,
    end: usize,
}

impl Input {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, bytes: vec![0; 256 << 10], used: 0, end: 0 }
    }

    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.used..self.end]
    }

    /// Waits for more bytes; whether there are more.
    pub fn is_read(&mut self) -> bool {
        self.bytes.copy_within(self.used..self.end, 0);
        self.end -= self.used;
        self.used = 0;
        if self.bytes.len() - self.end < READ_BYTES {
            self.bytes.resize(2 * self.bytes.len(), 0);
        }
        let count = self.stream.read(&mut self.bytes[self.end..]).expect("the server answers in time");
        self.end += count;
        count > 0
    }

    /// Waits for more bytes.
    pub fn read(&mut self) {
        assert!(self.is_read(), "the server has closed");
    }

    /// Reads to behind a text.
    pub fn skip_to(&mut self, part: &[u8]) {
        loop {
            if let Some(at) = wire::find(self.rest(), part) {
                self.used += at + part.len();
                return;
            }
            self.read();
        }
    }

    /// Reads an answer to a request and looks at its body.
    pub fn answer<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> T {
        loop {
            if let Some((body, length)) = wire::answer(self.rest()) {
                let seen = look(body);
                self.used += length;
                return seen;
            }
            self.read();
        }
    }
}
