//! How a receiver answers: well, badly, late, or never.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a path answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 200.
    Ok,
    /// This status.
    Status(u16),
    /// This status, with `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// The first so many requests get this status, later ones 200.
    FailFirst(u64, u16),
    /// So many requests get this status, the next so many 200, and so on.
    Flapping(u64, u16),
    /// 200, but only after this time.
    Delay(Duration),
    /// Takes the request and never answers.
    Hang,
    /// Begins an answer and sends one byte of its body each time this has passed, without end.
    Drip(Duration),
    /// This status, with a body of so many bytes.
    Huge(u16, u64),
    /// This status, with a body that holds `\0` and is not UTF-8.
    Garbage(u16),
    /// Something that is not HTTP at all.
    Nonsense,
    /// Closes the connection without an answer.
    Close,
    /// 302 to this place.
    Redirect(String),
}

impl Behaviour {
    /// What a path says of itself, for receivers that nobody has told: `/hang/…`, `/status/503/…`,
    /// `/delay/20/…` (milliseconds); every other path answers 200.
    pub(super) fn of_path(path: &str) -> Self {
        let mut parts = path.split('/').skip(1);
        let word = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|part| part.parse::<u16>().ok());
        match word {
            "hang" => Self::Hang,
            "status" => number.map_or(Self::Ok, Self::Status),
            "delay" => number.map_or(Self::Ok, |ms| Self::Delay(Duration::from_millis(ms.into()))),
            _ => Self::Ok,
        }
    }

    /// Answers the `turn`-th request (from 0) of a path. Returns the status that went out, and whether
    /// the connection may be used again.
    pub(super) async fn answer(
        &self,
        stream: &mut TcpStream,
        turn: u64,
    ) -> io::Result<(u16, bool)> {
        match self {
            Self::Ok => plain(stream, 200).await,
            Self::Status(status) => plain(stream, *status).await,
            Self::RetryAfter(status, seconds) => {
                let header = format!("retry-after: {seconds}\r\n");
                whole(stream, *status, &header, b"later").await
            }
            Self::FailFirst(first, status) if turn < *first => plain(stream, *status).await,
            Self::Flapping(each, status) if (turn / each).is_multiple_of(2) => {
                plain(stream, *status).await
            }
            Self::FailFirst(..) | Self::Flapping(..) => plain(stream, 200).await,
            Self::Delay(wait) => {
                tokio::time::sleep(*wait).await;
                plain(stream, 200).await
            }
            Self::Hang => until_closed(stream).await,
            Self::Drip(every) => drip(stream, *every).await,
            Self::Huge(status, bytes) => huge(stream, *status, *bytes).await,
            Self::Garbage(status) => {
                whole(stream, *status, "", b"nul \0 and \xff\xfe\x80 end").await
            }
            Self::Nonsense => {
                stream.write_all(b"\0\x01\x02 no http here\r\n\r\n").await?;
                Ok((0, false))
            }
            Self::Close => Ok((0, false)),
            Self::Redirect(to) => whole(stream, 302, &format!("location: {to}\r\n"), b"").await,
        }
    }
}

/// The common case, without formatting.
async fn plain(stream: &mut TcpStream, status: u16) -> io::Result<(u16, bool)> {
    if status != 200 {
        return whole(stream, status, "", b"no").await;
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await?;
    Ok((200, true))
}

async fn whole(
    stream: &mut TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
) -> io::Result<(u16, bool)> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {length}\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    stream.write_all(&answer).await?;
    Ok((status, true))
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let mut ignored = [0; 256];
    while stream.read(&mut ignored).await? > 0 {}
    Ok((0, false))
}

async fn drip(stream: &mut TcpStream, every: Duration) -> io::Result<(u16, bool)> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        .await?;
    loop {
        stream.write_all(b".").await?;
        tokio::time::sleep(every).await;
    }
}

async fn huge(stream: &mut TcpStream, status: u16, bytes: u64) -> io::Result<(u16, bool)> {
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        #[expect(clippy::cast_possible_truncation, reason = "no more than the chunk")]
        let now = left.min(chunk.len() as u64) as usize;
        stream.write_all(&chunk[..now]).await?;
        left -= now as u64;
    }
    Ok((status, true))
}
