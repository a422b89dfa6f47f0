//! Who asks, and whether they may: the first thing that is settled about a request, before its body is read.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use postrider_access::{Access, TokenGrant, decide};
use postrider_model::Clock;
use postrider_registry::{Found, Registry};
use postrider_store::Application;

use crate::{HttpError, application_ref};

/// Judges tokens and applications from the registry's snapshot.
#[derive(Clone)]
pub struct Gate {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

/// The holder of a token that the registry knows.
#[derive(Debug, Clone)]
pub struct Caller {
    grant: TokenGrant,
    now_ms: i64,
}

impl Caller {
    /// Refuses a token that may not do this, or is no longer good.
    pub fn may(&self, what: Access) -> Result<(), HttpError> {
        decide(&self.grant, what, self.now_ms).map_err(HttpError::from)
    }

    /// What the token stands for in the registry.
    pub fn grant(&self) -> &TokenGrant {
        &self.grant
    }
}

impl Gate {
    /// A gate over this registry.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self { registry, clock }
    }

    /// The registry behind it.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The clock that tokens expire by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Who asks.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Caller, HttpError> {
        let authorization = headers.get(header::AUTHORIZATION);
        let grant = self
            .registry
            .authenticate(authorization.map(|value| value.as_bytes()))
            .await?;
        Ok(Caller {
            grant,
            now_ms: self.clock.now().as_millis(),
        })
    }

    /// The application that `given` names by id or uid, for this caller. `Ok(None)` if it is missing and the caller may
    /// know that: an operator. To everybody else another's application and a missing one are the same 404.
    pub async fn find(
        &self,
        caller: &Caller,
        given: &str,
    ) -> Result<Option<Arc<Application>>, HttpError> {
        // What cannot be an id or a uid names nothing.
        let found = match application_ref(given) {
            Some(by) => self.registry.find_application(&by).await,
            None => Found::Missing,
        };
        match found {
            Found::Here(application) => {
                caller.may(Access::Application(*application.id.as_bytes()))?;
                Ok(Some(application))
            }
            Found::Missing => {
                // No application has the id of zeros: only an operator passes.
                caller.may(Access::Application([0; 16]))?;
                Ok(None)
            }
            Found::Unknown => Err(HttpError::Unavailable(
                "the application is not known here, and the store does not answer: try again in a moment".to_owned(),
            )),
        }
    }
}

/// A service's state that has a gate.
pub trait HasGate: Send + Sync + 'static {
    /// The gate.
    fn gate(&self) -> &Gate;
}

impl<T: HasGate> HasGate for Arc<T> {
    fn gate(&self) -> &Gate {
        self.as_ref().gate()
    }
}

/// Extracts an operator, or refuses the request.
#[derive(Debug)]
pub struct Operator(pub Caller);

impl<S: HasGate> FromRequestParts<S> for Operator {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let caller = state.gate().identify(&parts.headers).await?;
        caller.may(Access::Operate)?;
        Ok(Self(caller))
    }
}

/// Extracts the application of the path's `app_id` and a caller who may work in it, or refuses the request.
#[derive(Debug)]
pub struct InApp {
    /// The application, as the registry's snapshot has it.
    pub app: Arc<Application>,
    /// Who asks.
    pub caller: Caller,
}

impl<S: HasGate> FromRequestParts<S> for InApp {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let caller = state.gate().identify(&parts.headers).await?;
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| HttpError::NotFound)?;
        let given = params.iter().find(|(name, _)| *name == "app_id");
        let given = given.map_or("", |(_, value)| value);
        let app = state.gate().find(&caller, given).await?;
        let app = app.ok_or(HttpError::NotFound)?;
        Ok(Self { app, caller })
    }
}
