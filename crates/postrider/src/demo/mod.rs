//! The demonstration: a server as a process of its own, receivers in this one, and what Postrider promises shown on them.
//!
//! One file for each part: `server` starts and kills it, `api` talks to it, `orders` and `publisher` make events,
//! `customers` receives them, `scenes` and `troubles` are what is shown, in order, and `screen` is how.

mod api;
mod customers;
mod orders;
mod publisher;
mod scenes;
mod screen;
mod server;
mod troubles;

use std::time::Instant;

use anyhow::Context;

use api::Api;
use customers::Customers;
use screen::Screen;
use server::Server;

/// What is asked of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Events of the first scene; the second publishes half as many.
    pub(crate) events: usize,
    /// Connections of the publisher.
    pub(crate) connections: usize,
}

/// Everything that a scene works with.
struct Stage {
    options: Options,
    screen: Screen,
    server: Server,
    api: Api,
    customers: Customers,
}

/// Shows everything. True if all was as promised.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let began = Instant::now();
    let dir = tempfile::Builder::new()
        .prefix("postrider-demo-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    let mut screen = Screen::new();
    screen.title("Postrider, shown on a server and three customers' endpoints on this machine")?;
    let server = Server::start(dir.path()).await?;
    let api = Api::new(&server)?;
    screen.fact(
        "server",
        format_args!(
            "{}, ready after {:.2} s",
            server.url(),
            server.started_in().as_secs_f64()
        ),
    )?;
    let customers = Customers::start(&api).await?;
    for (name, does) in customers::CAST {
        screen.fact(name, does)?;
    }
    let mut stage = Stage {
        options,
        screen,
        server,
        api,
        customers,
    };
    let played = scenes::play(&mut stage).await;
    let logged = stage.server.stop().await;
    if played.is_err() {
        stage.screen.log_tail(&logged)?;
    }
    played?;
    let kept = stage.screen.all_kept();
    stage.screen.end(kept, began.elapsed())?;
    Ok(kept)
}
