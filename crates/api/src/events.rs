//! Reading events. Creating them is ingest's.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use postrider_http::{HttpError, InApp, InPath, MessageOut, Query, Slashed, unavailable};
use postrider_model::Event;
use postrider_store::{EventFilter, HistoryKey, Order};

use crate::Api;
use crate::page::{CONTENT, PAGING, Paging};
use crate::reply::{Answer, Reply};
use crate::weighed::weight;

const FILTER: [&str; 4] = ["event_types", "channel", "before", "after"];

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/app/{app_id}/msg", get(list))
        .slashed("/api/v1/app/{app_id}/msg/{msg_id}", get(read))
}

async fn list(State(api): State<Arc<Api>>, InApp { app, .. }: InApp, query: Query) -> Answer {
    let mut paging = Paging::of(&query, Order::Descending)?;
    let with_content = query.flag("with_content", true)?;
    if query.text("tag").is_some() {
        return Err(HttpError::query(
            "tag",
            "events have no tags yet: leave it out",
        ));
    }
    query.check(&[&PAGING, &CONTENT, &FILTER])?;
    let filter = EventFilter {
        event_types: query.list("event_types")?,
        channel: query.get("channel")?,
        before: query.time("before")?,
        after: query.time("after")?,
    };
    let (store, app_id, filter) = (&api.store, app.id, &filter);
    let ask = |page| async move {
        let events = store.events(app_id, filter, &page).await;
        events.map_err(unavailable)
    };
    let weigh = |event: &mut Event| weight(&mut event.payload, with_content);
    let _turn = api.turn().await?;
    let page = paging.weighed(key, weigh, ask).await?;
    Reply::ok(&paging.listed(&page, key, |event| {
        Some(MessageOut::of(event, with_content))
    }))
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): InPath<(String, String)>,
    query: Query,
) -> Answer {
    let with_content = query.flag("with_content", true)?;
    let event = api.event(app.id, &id).await?;
    Reply::ok(&MessageOut::of(&event, with_content))
}

fn key(event: &Event) -> HistoryKey {
    HistoryKey {
        at: event.accepted_at,
        id: *event.id.as_bytes(),
    }
}
