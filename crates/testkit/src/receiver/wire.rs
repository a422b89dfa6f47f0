//! One HTTP/1.1 request as it came, with as little parsing as will do.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// More headers than any sender of webhooks sets.
const MAX_HEADERS: usize = 64;

/// The longest head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A request, as slices of what was read.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Path and query.
    pub path: Bytes,
    /// Names as they came, and values.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The body.
    pub body: Bytes,
}

impl Received {
    /// The value of the header `name` (any case), or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &[u8] {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map_or(&[], |(_, value)| value)
    }

    /// Likewise as text; empty if it is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        std::str::from_utf8(self.header(name)).unwrap_or_default()
    }

    /// The path as text.
    #[must_use]
    pub fn path_text(&self) -> &str {
        std::str::from_utf8(&self.path).unwrap_or_default()
    }

    /// Reads the next request of a connection; `None` when the peer has closed it.
    pub(super) async fn read(
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<Option<Self>> {
        let (mut received, length) = loop {
            if let Some(head) = parse_head(buffer)? {
                break head;
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        };
        while buffer.len() < length {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        received.body = buffer.split_to(length).freeze();
        Ok(Some(received))
    }
}

/// Takes a whole head off `buffer`, with the length of the body behind it; `None` if there is more to come.
fn parse_head(buffer: &mut BytesMut) -> io::Result<Option<(Received, usize)>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(broken("a head without end")),
        Err(error) => return Err(broken(&error.to_string())),
    };
    // Where the pieces lie, so that they can be cut out of the shared bytes below.
    let base = buffer.as_ptr() as usize;
    let span = |part: &[u8]| {
        let start = part.as_ptr() as usize - base;
        start..start + part.len()
    };
    let path = span(request.path.unwrap_or_default().as_bytes());
    let spans: Vec<_> = request
        .headers
        .iter()
        .map(|header| (span(header.name.as_bytes()), span(header.value)))
        .collect();
    let head = buffer.split_to(length).freeze();
    let received = Received {
        path: head.slice(path),
        headers: spans
            .into_iter()
            .map(|(name, value)| (head.slice(name), head.slice(value)))
            .collect(),
        body: Bytes::new(),
    };
    let body = match received.text("content-length") {
        "" if received.header("transfer-encoding").is_empty() => 0,
        "" => {
            return Err(broken(
                "a chunked request: webhooks are sent with their length",
            ));
        }
        digits => digits.parse().map_err(|_| broken("a bad content-length"))?,
    };
    Ok(Some((received, body)))
}
