//! The public port: links that are in memory, then the route table, then every other code.
//!
//! Every answer that isn't given at once passes the backstop of [`head_size`]: a head that is too long never leaves.
//!
//! A table is tried route by route, which costs more than all the rest of a redirect, and nearly all visits are of codes. So it is
//! asked last: what [`follow::at_once`] can answer is answered, and only paths whose first segment a route claims are looked up in it. Reserved
//! words can't be codes, so the order changes no answer.

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_http::Request;
use actix_service::{IntoServiceFactory as _, forward_ready};
use actix_web::{
    App as WebApp, Error, HttpResponse,
    body::BoxBody,
    dev::{AppConfig, RequestHead, Response, Service, ServiceFactory, ServiceResponse},
    http::header::LINK,
    web::{Data, ThinData},
};
use futures_util::future::{Either, LocalBoxFuture};

use crate::{
    connections::Serving,
    head, head_size,
    metrics::Shortened,
    redirect::{
        fixed::{self, Page},
        follow,
    },
    routes,
    state::App,
    store::Lane,
};

/// What a worker runs. Made in each worker, so that each has a connection of its own for look-ups.
pub fn service(
    app: &Data<App>,
) -> impl ServiceFactory<Request, Config = AppConfig, Response = Response<BoxBody>, Error = Error, InitError = ()> + use<>
{
    let lane = app.store.lane();
    let table = WebApp::new().app_data(Data::clone(app)).app_data(ThinData(lane.clone())).configure(routes::public);
    Public { app: Data::clone(app), lane, table: table.into_factory() }
}

/// `T` is the route table: its factory first, the service that it makes then.
struct Public<T> {
    app: Data<App>,
    lane: Lane,
    table: T,
}

impl<T> ServiceFactory<Request> for Public<T>
where
    T: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error, InitError = ()>,
    T::Service: 'static,
    T::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Rc<Public<T::Service>>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (app, lane, table) = (Data::clone(&self.app), self.lane.clone(), self.table.new_service(config));
        Box::pin(async move { Ok(Rc::new(Public { app, lane, table: table.await? })) })
    }
}

impl<T> Service<Request> for Public<T>
where
    T: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
    T::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Either<Ready<Result<Self::Response, Error>>, LocalBoxFuture<'static, Result<Self::Response, Error>>>;

    forward_ready!(table);

    fn call(&self, mut request: Request) -> Self::Future {
        if let Some(response) = follow::at_once(request.head(), &self.app) {
            return Either::Left(ready(Ok(response.into())));
        }
        let (app, serving) = (Data::clone(&self.app), Serving::begin(&mut request));
        if routes::claims(request.path()) {
            let answer = self.table.call(request);
            Either::Right(Box::pin(async move {
                let (request, response) = answer.await?.into_parts();
                Ok(serving.end(bounded(&app, request.head(), response).into()))
            }))
        } else {
            let lane = self.lane.clone();
            Either::Right(Box::pin(async move {
                let response = follow::follow(request.head(), &app, &lane).await;
                Ok(serving.end(bounded(&app, request.head(), response).into()))
            }))
        }
    }
}

/// Shortens an answer whose head is too long. A list works without its `Link` header: the body names the next page too. No other answer is
/// known to be too long; one that is becomes a 503, and the metric counts it.
fn bounded(app: &App, request: &RequestHead, mut response: HttpResponse) -> HttpResponse {
    if head_size::fits(response.head()) {
        return response;
    }
    let has_link = response.headers_mut().remove(LINK).next().is_some();
    if has_link && head_size::fits(response.head()) {
        app.metrics.head_shortened(Shortened::Link);
        return response;
    }
    app.metrics.head_shortened(Shortened::Whole);
    head::strip(&request.method, fixed::answer(app, request, Page::Unavailable))
}
