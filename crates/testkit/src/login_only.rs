//! A PostgreSQL server that logs its clients in and then does no more, as one that has just come back and goes again, or a
//! pooler whose server is away (<https://www.postgresql.org/docs/15/protocol-flow.html>).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does about the first query of each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstQuery {
    /// Closes the connection.
    Cut,
    /// Says nothing, and keeps the connection open.
    Unanswered,
    /// Ends the session with this SQLSTATE.
    Refused(&'static str),
}

/// Listens on 127.0.0.1. Ends when dropped.
#[derive(Debug)]
pub struct LoginOnly {
    url: String,
    logins: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl LoginOnly {
    /// Takes a port, and connections.
    ///
    /// # Errors
    /// If none can be had.
    pub async fn start(then: FirstQuery) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let place = listener.local_addr()?;
        let logins = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, then, Arc::clone(&logins)));
        Ok(Self {
            url: format!("postgres://anna@{place}/events?sslmode=disable"),
            logins,
            accepting,
        })
    }

    /// Where it is. It talks in clear only, and asks for no password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many were logged in so far.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

impl Drop for LoginOnly {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, then: FirstQuery, logins: Arc<AtomicUsize>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let logins = Arc::clone(&logins);
        tokio::spawn(async move {
            // A client that goes has had what it came for.
            let _ = serve(&mut client, then, &logins).await;
        });
    }
}

async fn serve(client: &mut TcpStream, then: FirstQuery, logins: &AtomicUsize) -> Result<()> {
    let length = client.read_u32().await?;
    let mut startup = vec![0; usize::try_from(length)?.saturating_sub(4)];
    client.read_exact(&mut startup).await?;
    let mut hello = framed(b'R', &0u32.to_be_bytes());
    hello.extend(framed(b'S', b"server_version\x0015.0\0"));
    hello.extend(framed(b'Z', b"I"));
    client.write_all(&hello).await?;
    logins.fetch_add(1, Ordering::SeqCst);
    let mut query = [0; 1024];
    if client.read(&mut query).await? == 0 {
        return Ok(());
    }
    match then {
        FirstQuery::Cut => {}
        FirstQuery::Unanswered => while client.read(&mut query).await? > 0 {},
        FirstQuery::Refused(code) => {
            let fields = format!("SFATAL\0VFATAL\0C{code}\0Mas the test wants it\0\0");
            client.write_all(&framed(b'E', fields.as_bytes())).await?;
            // Closed with something unread, the answer would not arrive.
            client.shutdown().await?;
            while client.read(&mut query).await? > 0 {}
        }
    }
    Ok(())
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], &length.to_be_bytes()[..], body].concat()
}
