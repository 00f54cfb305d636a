//! A connection whose client must take what it is sent. It is below TLS: whatever is above it may hold bytes back or send them
//! twice, here every byte that the client takes is seen.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection that ends when nothing was taken of what was written for too long.
pub(crate) struct Patient {
    stream: TcpStream,
    pause_max: Duration,
    /// The end of waiting, while there is something to write and nothing is taken.
    end: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(crate) fn new(stream: TcpStream, pause_max: Duration) -> Self {
        Self { stream, pause_max, end: None }
    }

    /// What came of writing; an error when nothing did for too long.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let pause_max = self.pause_max;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(pause_max)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what it is sent")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_reads_nothing_of_what_he_is_sent_is_given_up_and_who_reads_slowly_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // More than the kernel buffers.
        let bytes = vec![b'x'; 32 << 20];
        for reads in [false, true] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut stream = Patient::new(listener.accept().await.unwrap().0, Duration::from_millis(500));
            let reading = tokio::spawn(async move {
                let mut read = vec![0; 256 << 10];
                while reads && client.read(&mut read).await.unwrap() > 0 {
                    // All of it takes several times as long as a pause may.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                std::future::pending::<()>().await;
            });
            let written = async {
                // As TLS does, which flushes long after the last byte was taken.
                for piece in bytes.chunks(64 << 10) {
                    stream.write_all(piece).await?;
                    stream.flush().await?;
                }
                Ok(())
            };
            let written = tokio::time::timeout(Duration::from_secs(60), written).await.unwrap();
            let found = written.map_err(|error: io::Error| error.kind());
            assert_eq!(found, if reads { Ok(()) } else { Err(io::ErrorKind::TimedOut) });
            reading.abort();
        }
    }
}
