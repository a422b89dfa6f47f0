//! A keep-alive connection that creates events with as little work as will do.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Target;

/// Longer than any answer should take, so that a load ends whatever happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to a server's route that creates events.
pub(super) struct Connection {
    stream: TcpStream,
    /// The request's head up to the length of its body.
    head: Vec<u8>,
    request: Vec<u8>,
    buffer: BytesMut,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(target: &Target, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let Target { address, token } = target;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: "
        );
        Ok(Self {
            stream,
            head: head.into_bytes(),
            request: Vec::new(),
            buffer: BytesMut::with_capacity(4096),
        })
    }

    /// Creates one event. Returns its id.
    pub(super) async fn create_event(&mut self, body: &[u8]) -> Result<String> {
        #[derive(Deserialize)]
        struct Created {
            id: String,
        }
        let answer = tokio::time::timeout(PATIENCE, self.round_trip(body));
        let (status, answer) = answer.await.context("no answer within 30 s")??;
        ensure!(
            status == 202,
            "answered {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(serde_json::from_slice::<Created>(&answer)?.id)
    }

    async fn round_trip(&mut self, body: &[u8]) -> Result<(u16, BytesMut)> {
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        self.request
            .extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        let (status, length) = loop {
            if let Some(head) = take_head(&mut self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Ok((status, self.buffer.split_to(length)))
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

/// Takes an answer's head off `buffer`: its status and the length of its body; `None` if there is more to come.
fn take_head(buffer: &mut BytesMut) -> Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(buffer)? else {
        return Ok(None);
    };
    let status = response.code.context("an answer without a status")?;
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let Some(length) = length else {
        bail!("an answer ({status}) without content-length");
    };
    let length = std::str::from_utf8(length.value)?.parse()?;
    drop(buffer.split_to(end));
    Ok(Some((status, length)))
}
