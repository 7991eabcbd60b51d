//! Who may work at once: places for the console, for the APIs and for bulk, so that a flood of one takes nothing from another.
//!
//! Redirects never come here. They are answered before the route table, and whatever officers do can't keep them waiting for a place. Of
//! the others each class has places of its own. The defaults leave the console connections to Redis when all other places are taken:
//! 8 requests of the APIs and a batch, which uses 6, are fewer than `redis.pool_size`. A request that finds no place waits for one,
//! without having begun, and is told to come back when there is none in time.
//!
//! A place is for work. While a body is on its way its request has none, so a client that sends slowly stops nobody; what it has sent counts
//! against the [body budget](body_budget) instead. A file that is streamed takes a place for each part of it, and has none while its reader
//! is slow.

mod body_budget;

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{
    HttpMessage as _, HttpRequest, ResponseError,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING},
    middleware::Next,
    web::Data,
};
use prometheus::{IntCounter, IntGauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::body_budget::{BodyBudget, BodyBytes, Exhausted, Sender};
use crate::{
    client,
    config::Overload,
    domain::Email,
    metrics::{BodyRefusal, Class, Metrics},
    state::App,
};

/// The bytes of a body that are kept for a sender who has shown neither key nor session.
pub const STRANGER_BODY_BYTES_MAX: usize = 4 * 1024;

/// No place within the time that a request may wait for it, or no memory for its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service has more to do than it can; nothing was done, try again later")]
pub struct Crowded(pub Class);

impl Crowded {
    /// When to come back: a person soon, a program later, a batch when others are through.
    pub fn retry_after(self) -> Duration {
        Duration::from_secs(match self.0 {
            Class::Console => 2,
            Class::Api => 5,
            Class::Bulk => 15,
        })
    }
}

/// Why a body isn't read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error(transparent)]
    Service(#[from] Crowded),
    /// The sender's own bodies take all that one sender may have.
    #[error(
        "too many requests are being sent at once from this address or by this officer; try again when some are answered"
    )]
    Sender(Duration),
}

pub struct Admission {
    classes: [Places; Class::ALL.len()],
    wait_max: Duration,
    bodies: Arc<BodyBudget>,
    metrics: Arc<Metrics>,
}

struct Places {
    free: Arc<Semaphore>,
    in_flight: IntGauge,
    shed: IntCounter,
}

/// Leave to work, until it is dropped.
pub struct Place {
    class: Class,
    in_flight: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

impl Admission {
    pub fn new(settings: &Overload, metrics: &Arc<Metrics>) -> Self {
        let classes = Class::ALL.map(|class| {
            let at_once = match class {
                Class::Console => settings.console_at_once,
                Class::Api => settings.api_at_once,
                Class::Bulk => settings.bulk_at_once,
            };
            let (in_flight, in_flight_max, shed) = metrics.admission(class);
            in_flight_max.set(i64::try_from(at_once).unwrap_or(i64::MAX));
            Places { free: Arc::new(Semaphore::new(at_once)), in_flight, shed }
        });
        let in_use = metrics.bodies.bytes.clone();
        let bodies = BodyBudget::new(settings.body_bytes_max, settings.body_bytes_per_client_max, in_use);
        Self { classes, wait_max: settings.wait_max, bodies: Arc::new(bodies), metrics: Arc::clone(metrics) }
    }

    /// Takes a place, waiting for it as long as a request may.
    ///
    /// # Errors
    ///
    /// When there was none in time.
    pub async fn enter(&self, class: Class) -> Result<Place, Crowded> {
        match timeout(self.wait_max, self.enter_at_last(class)).await {
            Ok(place) => Ok(place),
            Err(_) => Err(self.turned_away(class)),
        }
    }

    /// Takes a place however long it takes: for the next part of an answer that has begun.
    pub async fn enter_at_last(&self, class: Class) -> Place {
        let places = &self.classes[class as usize];
        let permit = Arc::clone(&places.free).acquire_owned().await.expect("nobody closes it");
        places.in_flight.inc();
        Place { class, in_flight: places.in_flight.clone(), _permit: permit }
    }

    fn turned_away(&self, class: Class) -> Crowded {
        self.classes[class as usize].shed.inc();
        Crowded(class)
    }
}

/// A body on its way.
pub struct Arrival {
    request: HttpRequest,
    app: Data<App>,
    /// `None`: a route that needs no place.
    class: Option<Class>,
    bytes: BodyBytes,
}

impl Arrival {
    /// Gives up the request's place until the body is there. `officer` is `None` for a stranger.
    pub fn begin(request: &HttpRequest, officer: Option<&Email>) -> Self {
        let app = app(request.app_data());
        let class = request.extensions_mut().remove::<Place>().map(|place| place.class);
        let address = client::address(request.head(), &app.config.public.trusted_proxies).map(client::visitor);
        let bytes = app.admission.bodies.begin(Sender { address, officer: officer.cloned() });
        Self { request: request.clone(), app, class, bytes }
    }

    /// Makes room for a piece that has come.
    ///
    /// # Errors
    ///
    /// When there is none: other bodies fill it, or other bodies of this sender what one may have.
    pub fn takes(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let class = self.class.unwrap_or(Class::Console);
        self.bytes.take(bytes).map_err(|exhausted| {
            let admission = &self.app.admission;
            let (refusal, error) = match exhausted {
                Exhausted::Total => (BodyRefusal::Total, admission.turned_away(class).into()),
                Exhausted::Strangers => (BodyRefusal::Strangers, Crowded(class).into()),
                Exhausted::Sender => (BodyRefusal::Sender, NoRoom::Sender(Crowded(class).retry_after())),
            };
            admission.metrics.bodies.refused(refusal);
            error
        })
    }

    /// Has a place again for the request, now that its body is there.
    ///
    /// # Errors
    ///
    /// When there was none in time.
    pub async fn end(self) -> Result<(), Crowded> {
        if let Some(class) = self.class {
            let place = self.app.admission.enter(class).await?;
            self.request.extensions_mut().insert(place);
        }
        Ok(())
    }
}

/// RFC 9112, section 6.3: a request without either header has no body.
pub fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|bytes| bytes != "0")
}

/// Returns true when a body has a `Content-Encoding` other than `identity`.
pub fn is_encoded(request: &HttpRequest) -> bool {
    let is_identity = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
    let mut values = request.headers().get_all(CONTENT_ENCODING);
    has_body(request) && values.any(|value| !value.as_bytes().split(|byte| *byte == b',').all(is_identity))
}

/// Wraps the routes of a class: no handler begins without a place, which the request keeps until it is answered. `E` says it in the words of
/// the route.
pub async fn admit<E>(
    class: Class,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error>
where
    E: From<Crowded> + ResponseError + 'static,
{
    let app = app(request.app_data());
    match app.admission.enter(class).await {
        Ok(place) => {
            request.extensions_mut().insert(place);
            next.call(request).await
        }
        Err(crowded) => Ok(request.error_response(E::from(crowded))),
    }
}

/// A stream's next part, made in a place of its own.
pub async fn in_a_place<T>(app: &App, class: Class, work: impl Future<Output = T>) -> T {
    let _place = app.admission.enter_at_last(class).await;
    work.await
}

fn app(data: Option<&Data<App>>) -> Data<App> {
    data.expect("the server is built with its state").clone()
}
