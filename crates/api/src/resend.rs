//! Sending an event to an endpoint again because somebody asked for it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use postrider_failpoint::fail_point;
use postrider_http::{HttpError, InApp, InPath, Slashed, endpoint_ref, not_taken};
use postrider_log::{Durability, Purpose};
use postrider_model::{Class, Delivery, Endpoint, Event};
use serde::Serialize;

use crate::Api;
use crate::idempotent::Operation;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new().slashed(
        "/api/v1/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend",
        post(resend),
    )
}

async fn resend(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, event, endpoint)): InPath<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    #[derive(Serialize)]
    struct EmptyOut {}
    // The dialect's clients send none or an empty object: nothing in it would change anything.
    api.body(&headers, body).await?;
    let operation = Operation {
        name: "message-attempt.resend",
        scope: app.id.to_string(),
        target: format!("{event}/{endpoint}"),
        body: &[],
    };
    let doer = Arc::clone(&api);
    let work = async move {
        let by = endpoint_ref(&endpoint)?;
        let event = doer.event(app.id, &event).await?;
        let endpoint = doer.endpoint(app.id, &by).await?;
        if endpoint.disabled.is_some() {
            return Err(HttpError::Conflict(
                "the endpoint is disabled: enable it first".to_owned(),
            ));
        }
        doer.publish_again(&event, &endpoint).await?;
        Reply::json(StatusCode::ACCEPTED, &EmptyOut {})
    };
    api.once(&headers, operation, work).await
}

impl Api {
    async fn publish_again(&self, event: &Event, endpoint: &Endpoint) -> Result<(), HttpError> {
        let now = self.now();
        let deadline = self.options.deadline(endpoint, now);
        // Where the event lay in the log is not kept: nothing outside the log may depend on it.
        let event_at = (0, 0);
        let delivery = Delivery::of_event(
            event,
            event_at,
            endpoint.id,
            endpoint.version,
            Class::Bulk,
            deadline,
        );
        let generation = self.store.new_generation(now).await?;
        // No worker judges the endpoint by an older state of it than this one.
        let delivery = delivery.again(generation, endpoint.version, now, deadline);
        let (delivery, span) = self.tracer.send_again(delivery);
        let record = delivery.to_record();
        let append = self
            .log
            .append(vec![record], Durability::Synced, Purpose::Intake);
        fail_point!("resend.append.before");
        match append.await {
            Ok(_) => {
                fail_point!("resend.append.after");
                span.end();
                Ok(())
            }
            Err(error) => Err(not_taken(error, "deliveries")),
        }
    }
}
