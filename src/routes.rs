//! THE TABLE: every path of the public port and who answers it. A path that isn't here is a code, or nothing.
//!
//! The first segments of these paths can't be codes, which [`is_reserved`] derives from the table itself.

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder,
    middleware::from_fn,
    web::{self, ServiceConfig},
};

use crate::{
    admission::admit,
    api::{
        observe::{observe_console, observe_v1, observe_v2},
        v1::{self, urls},
        v2::{batch, call, clicks, docs, export, keys, links, me, openapi, problem, qr},
    },
    console::{
        account, assets, directory, keys as console_keys, links as console_links, login, page as console_page, upload,
    },
    domain::Code,
    head::without_body,
    metrics::Class,
    redirect::{follow, front},
};

/// Paths, and what is mounted there. The first is the one that metrics and logs name.
struct Route {
    paths: &'static [&'static str],
    mount: fn(Resource, &mut ServiceConfig),
}

/// Tried from top to bottom.
static PUBLIC: &[Route] = &[
    Route { paths: &["/"], mount: |at, config| page(config, at.get(front::landing).head(front::landing)) },
    Route { paths: &["/robots.txt"], mount: |at, config| page(config, at.get(front::robots).head(front::robots)) },
    Route { paths: &["/favicon.ico"], mount: |at, config| page(config, at.get(front::favicon).head(front::favicon)) },
    Route { paths: &["/assets/{name}"], mount: |at, config| page(config, at.get(front::asset).head(front::asset)) },
    Route {
        paths: &["/api/v1/urls", "/api/v1/urls/"],
        mount: |at, config| api(config, at.get(urls::list).post(urls::create)),
    },
    Route {
        paths: &["/api/v1/urls/{shortUrl}", "/api/v1/urls/{shortUrl}/"],
        mount: |at, config| api(config, at.patch(urls::update)),
    },
    Route {
        paths: &["/api/v1/admin/urls", "/api/v1/admin/urls/"],
        mount: |at, config| api(config, at.post(urls::create_for_anyone)),
    },
    Route { paths: &["/api/v1/{rest:.*}", "/api/v1"], mount: |at, config| api(config, at) },
    Route {
        paths: &["/api/v2/links"],
        mount: |at, config| {
            api_v2(config, at.get(links::list).head(links::list).post(links::create), "GET, HEAD, POST");
        },
    },
    Route {
        paths: &["/api/v2/links/{code}"],
        mount: |at, config| {
            api_v2(config, at.get(links::read).head(links::read).patch(links::change), "GET, HEAD, PATCH");
        },
    },
    Route {
        paths: &["/api/v2/links/{code}/transfer"],
        mount: |at, config| api_v2(config, at.post(links::transfer), "POST"),
    },
    Route {
        paths: &["/api/v2/links/{code}/history"],
        mount: |at, config| api_v2(config, at.get(links::history).head(links::history), "GET, HEAD"),
    },
    Route {
        paths: &["/api/v2/links/{code}/clicks"],
        mount: |at, config| api_v2(config, at.get(clicks::read).head(clicks::read), "GET, HEAD"),
    },
    Route {
        paths: &["/api/v2/links/{code}/qr"],
        mount: |at, config| api_v2(config, at.get(qr::read).head(qr::read), "GET, HEAD"),
    },
    Route {
        paths: &["/api/v2/tags"],
        mount: |at, config| api_v2(config, at.get(clicks::tags).head(clicks::tags), "GET, HEAD"),
    },
    Route { paths: &["/api/v2/batch"], mount: |at, config| api_v2_bulk(config, at.post(batch::create), "POST") },
    Route {
        paths: &["/api/v2/export"],
        mount: |at, config| api_v2_bulk(config, at.get(export::export).head(export::export), "GET, HEAD"),
    },
    Route {
        paths: &["/api/v2/keys"],
        mount: |at, config| {
            api_v2(config, at.get(keys::list).head(keys::list).post(keys::create), "GET, HEAD, POST");
        },
    },
    Route { paths: &["/api/v2/keys/{id}"], mount: |at, config| api_v2(config, at.delete(keys::revoke), "DELETE") },
    Route { paths: &["/api/v2/me"], mount: |at, config| api_v2(config, at.get(me::read).head(me::read), "GET, HEAD") },
    Route {
        paths: &["/api/v2/openapi.json"],
        mount: |at, config| api_v2(config, at.get(openapi::serve).head(openapi::serve), "GET, HEAD"),
    },
    Route { paths: &["/api/v2/docs"], mount: |at, config| page(config, at.get(docs::docs).head(docs::docs)) },
    Route { paths: &["/api/v2/{rest:.*}", "/api/v2"], mount: |at, config| api_v2(config, at.to(call::unknown), "") },
    Route { paths: &["/problems/{name}"], mount: |at, config| page(config, at.get(docs::problem).head(docs::problem)) },
    Route { paths: &["/console", "/console/"], mount: |at, config| shown(config, at, login::front) },
    Route { paths: &["/console/assets/{name}"], mount: |at, config| shown(config, at, assets::asset) },
    Route { paths: &["/console/login"], mount: |at, config| form(config, at, login::show, login::send_password) },
    Route {
        paths: &["/console/login/password"],
        mount: |at, config| form(config, at, login::no_password_yet, login::check_password),
    },
    Route {
        paths: &["/console/login/link/{secret}"],
        mount: |at, config| form(config, at, login::show_link, login::open_link),
    },
    Route { paths: &["/console/account"], mount: |at, config| shown(config, at, account::show) },
    Route { paths: &["/console/logout"], mount: |at, config| action(config, at, login::log_out) },
    Route { paths: &["/console/logout-everywhere"], mount: |at, config| action(config, at, login::log_out_everywhere) },
    Route { paths: &["/console/links"], mount: |at, config| shown(config, at, console_links::list::show) },
    Route {
        paths: &["/console/create"],
        mount: |at, config| form(config, at, console_links::edit::new, console_links::edit::create),
    },
    Route { paths: &["/console/export"], mount: |at, config| shown(config, at, console_links::list::export) },
    Route { paths: &["/console/upload"], mount: |at, config| form(config, at, upload::show, upload::upload) },
    Route { paths: &["/console/upload/template.csv"], mount: |at, config| shown(config, at, upload::template) },
    Route { paths: &["/console/upload/{id}"], mount: |at, config| form(config, at, upload::look, upload::confirm) },
    Route { paths: &["/console/upload/{id}/rows.csv"], mount: |at, config| shown(config, at, upload::rows) },
    Route { paths: &["/console/upload/{id}/qr-svg.zip"], mount: |at, config| shown(config, at, upload::svg_codes) },
    Route { paths: &["/console/upload/{id}/qr-png.zip"], mount: |at, config| shown(config, at, upload::png_codes) },
    Route {
        paths: &["/console/availability"],
        mount: |at, config| shown(config, at, console_links::edit::availability),
    },
    Route {
        paths: &["/console/links/{code}"],
        mount: |at, config| form(config, at, console_links::edit::show, console_links::edit::save),
    },
    Route {
        paths: &["/console/links/{code}/state"],
        mount: |at, config| action(config, at, console_links::edit::switch),
    },
    Route {
        paths: &["/console/links/{code}/transfer"],
        mount: |at, config| form(config, at, console_links::edit::ask_transfer, console_links::edit::transfer),
    },
    Route {
        paths: &["/console/links/{code}/history"],
        mount: |at, config| shown(config, at, console_links::history::show),
    },
    Route {
        paths: &["/console/links/{code}/statistics"],
        mount: |at, config| shown(config, at, console_links::statistics::show),
    },
    Route {
        paths: &["/console/links/{code}/clicks.csv"],
        mount: |at, config| shown(config, at, console_links::statistics::csv),
    },
    Route { paths: &["/console/links/{code}/qr.svg"], mount: |at, config| shown(config, at, console_links::qr::svg) },
    Route { paths: &["/console/links/{code}/qr.png"], mount: |at, config| shown(config, at, console_links::qr::png) },
    Route { paths: &["/console/directory"], mount: |at, config| shown(config, at, directory::show) },
    Route { paths: &["/console/keys"], mount: |at, config| form(config, at, console_keys::show, console_keys::create) },
    Route {
        paths: &["/console/keys/{id}/revoke"],
        mount: |at, config| form(config, at, console_keys::ask_revoke, console_keys::revoke),
    },
    Route { paths: &["/console/{rest:.*}"], mount: |at, config| console(config, at.to(no_such_page)) },
    Route { paths: &["/api/{rest:.*}", "/api"], mount: |at, config| plain(config, at.to(urls::unknown_version)) },
];

/// Mounts the table. Behind it is only what [`claims`] and then no route wants, such as `/assets`.
pub fn public(config: &mut ServiceConfig) {
    for route in PUBLIC {
        (route.mount)(web::resource(route.paths.to_vec()), config);
    }
    config.default_service(web::to(follow::follow_stray));
}

/// Whether a path belongs to the table: its first segment is that of a route.
pub fn claims(path: &str) -> bool {
    let segment = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    PUBLIC.iter().flat_map(|route| route.paths).any(|path| first_segment(path) == segment)
}

/// What a path of the table begins with; empty for the landing page.
fn first_segment(path: &'static str) -> &'static str {
    path[1..].split(['/', '{']).next().unwrap_or_default()
}

/// Whether a code would stand in the way of a route.
pub fn is_reserved(code: &Code) -> bool {
    reserved_words().any(|word| word == code.as_str())
}

/// The first segments of all routes. Those with a dot in them can't be codes anyway.
pub fn reserved_words() -> impl Iterator<Item = &'static str> {
    let routed = PUBLIC.iter().flat_map(|route| route.paths).map(|path| first_segment(path));
    routed.filter(|segment| !segment.is_empty())
}

/// A page for citizens: known methods, and a 405 that says which.
fn page(config: &mut ServiceConfig, resource: Resource) {
    config.service(resource.default_service(web::to(front::method_not_allowed)).wrap(from_fn(without_body)));
}

fn plain(config: &mut ServiceConfig, resource: Resource) {
    config.service(resource.wrap(from_fn(without_body)));
}

/// A v1 route: watched, and for unknown methods as if it weren't there.
fn api(config: &mut ServiceConfig, resource: Resource) {
    let resource = resource.default_service(web::to(urls::stray));
    let resource = resource.wrap(from_fn(|request, next| admit::<v1::error::Error>(Class::Api, request, next)));
    config.service(resource.wrap(from_fn(without_body)).wrap(from_fn(observe_v1)));
}

/// A v2 route: watched, and refusing in its own words the methods that it doesn't take.
fn api_v2(config: &mut ServiceConfig, resource: Resource, allow: &'static str) {
    api_v2_of(Class::Api, config, resource, allow);
}

/// A v2 route of which few requests are worked on at once.
fn api_v2_bulk(config: &mut ServiceConfig, resource: Resource, allow: &'static str) {
    api_v2_of(Class::Bulk, config, resource, allow);
}

fn api_v2_of(class: Class, config: &mut ServiceConfig, resource: Resource, allow: &'static str) {
    let refuse =
        move |_: call::Stray| async move { Err::<HttpResponse, _>(problem::Problem::method_not_allowed(allow)) };
    let resource = resource
        .default_service(web::to(refuse))
        .wrap(from_fn(move |request, next| admit::<problem::Problem>(class, request, next)));
    config.service(resource.wrap(from_fn(without_body)).wrap(from_fn(problem::dress)).wrap(from_fn(observe_v2)));
}

/// A page of the console.
fn shown<A: FromRequest + 'static>(
    config: &mut ServiceConfig,
    at: Resource,
    get: impl Handler<A, Output: Responder + 'static> + Copy,
) {
    let others = || async { Err::<HttpResponse, _>(console_page::Error::MethodNotAllowed("GET, HEAD")) };
    console(config, at.get(get).head(get).default_service(web::to(others)));
}

/// A page of the console with a form that is sent to the same path.
fn form<A: FromRequest + 'static, B: FromRequest + 'static>(
    config: &mut ServiceConfig,
    at: Resource,
    get: impl Handler<A, Output: Responder + 'static> + Copy,
    post: impl Handler<B, Output: Responder + 'static>,
) {
    let others = || async { Err::<HttpResponse, _>(console_page::Error::MethodNotAllowed("GET, HEAD, POST")) };
    console(config, at.get(get).head(get).post(post).default_service(web::to(others)));
}

/// A form of the console without a page of its own.
fn action<A: FromRequest + 'static>(
    config: &mut ServiceConfig,
    at: Resource,
    post: impl Handler<A, Output: Responder + 'static>,
) {
    let others = || async { Err::<HttpResponse, _>(console_page::Error::MethodNotAllowed("POST")) };
    console(config, at.post(post).default_service(web::to(others)));
}

fn console(config: &mut ServiceConfig, resource: Resource) {
    // Our own pages make no such addresses.
    let queries = web::QueryConfig::default().error_handler(|_, _| console_page::Error::NotFound.into());
    let resource = resource.app_data(queries);
    let resource = resource.wrap(from_fn(|request, next| admit::<console_page::Error>(Class::Console, request, next)));
    config.service(
        resource.wrap(from_fn(console_page::finish)).wrap(from_fn(without_body)).wrap(from_fn(observe_console)),
    );
}

async fn no_such_page() -> Result<HttpResponse, console_page::Error> {
    Err(console_page::Error::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_of_every_route_is_reserved() {
        let words: Vec<&str> = reserved_words().collect();
        for word in ["api", "assets", "robots.txt", "console", "problems"] {
            assert!(words.contains(&word), "{word} is not among {words:?}");
        }
        assert!(is_reserved(&"api".parse().expect("a code")));
        assert!(!is_reserved(&"apis".parse().expect("a code")));
    }
}
