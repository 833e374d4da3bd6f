//! Which path leads where.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    dev::ServiceResponse,
    guard::fn_guard,
    http::{StatusCode, header},
    web::{self, ServiceConfig, delete, get, head, post, put},
};

use crate::{Role, access, admin, assets, login, poll, probes, problem::Problem, publish, state::State, subscribe};

/// Adds every route that a listener serves. What it does not serve is not there, rather than forbidden.
pub(crate) fn configure(config: &mut ServiceConfig, role: Role) {
    probes_and_pages(config);
    if role != Role::Admin {
        subscribing(config);
    }
    if role != Role::Public {
        administration(config);
    }
    config.default_service(web::to(|| async { Err::<HttpResponse, _>(Problem::not_found("no such path")) }));
}

fn add(config: &mut ServiceConfig, resource: Resource) {
    config.service(resource);
}

fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move { wrong_method(allow) }))
}

/// One whose handler asks who it is.
fn identified(path: &str, allow: &'static str) -> Resource {
    resource(path, allow).guard(fn_guard(access::is_identified))
}

fn probes_and_pages(config: &mut ServiceConfig) {
    let page = resource("/login", "GET, HEAD, POST").route(get().to(assets::login)).route(head().to(assets::login));
    add(config, page.route(post().to(login::login)));
    add(config, resource("/register", "POST").route(post().to(login::register)));
    add(config, resource("/logout", "POST").route(post().to(login::logout)));
    add(config, identified("/me", "GET").route(get().to(login::whoami)));
    add(config, resource("/", "GET, HEAD").route(get().to(assets::page)).route(head().to(assets::page)));
    add(config, resource("/assets/{name}", "GET, HEAD").route(get().to(assets::asset)).route(head().to(assets::asset)));
    add(config, resource("/health", "GET, HEAD").route(get().to(probes::health)).route(head().to(probes::health)));
    add(config, resource("/ready", "GET, HEAD").route(get().to(probes::ready)).route(head().to(probes::ready)));
}

fn subscribing(config: &mut ServiceConfig) {
    add(config, identified("/events", "GET").route(get().to(subscribe::events)));
    add(config, identified("/topics/{topic:.*}/events", "GET").route(get().to(subscribe::topic_events)));
    add(config, identified("/poll", "GET").route(get().to(poll::poll)));
}

fn administration(config: &mut ServiceConfig) {
    add(config, resource("/metrics", "GET, HEAD").route(get().to(probes::metrics)).route(head().to(probes::metrics)));
    add(config, identified("/admin/v1/publish", "POST").route(post().to(publish::publish)));
    add(config, identified("/admin/v1/publish/batch", "POST").route(post().to(publish::batch)));
    let v1 = |path: &str, allow| resource(&format!("/admin/v1{path}"), allow).guard(fn_guard(access::is_administrator));
    add(config, v1("/broadcast", "POST").route(post().to(admin::direct::to_all)));
    add(config, v1("/stats", "GET").route(get().to(admin::stats::stats)));
    add(config, v1("/drain", "POST").route(post().to(admin::stats::drain)));
    let level = v1("/log-level", "GET, PUT").route(get().to(admin::log_level::show));
    add(config, level.route(put().to(admin::log_level::put)));
    add(config, v1("/nodes", "GET").route(get().to(admin::stats::nodes)));
    add(config, v1("/topics", "GET").route(get().to(admin::topics::list)));
    let history = v1("/topics/{topic:.*}/history", "GET, DELETE").route(get().to(admin::topics::history));
    add(config, history.route(delete().to(admin::topics::clear)));
    add(config, v1("/topics/{topic:.*}/sessions", "GET").route(get().to(admin::sessions::of_topic)));
    add(config, v1("/topics/{topic:.*}", "GET").route(get().to(admin::topics::show)));
    add(config, v1("/sessions", "GET").route(get().to(admin::sessions::list)));
    add(config, v1("/sessions/{id}/events", "POST").route(post().to(admin::direct::to_session)));
    let session = v1("/sessions/{id}", "GET, DELETE").route(get().to(admin::sessions::show));
    add(config, session.route(delete().to(admin::sessions::disconnect)));
    add(config, v1("/accounts", "GET").route(get().to(admin::accounts::list)));
    let account = v1("/accounts/{name}", "PUT, DELETE").route(put().to(admin::accounts::put));
    add(config, account.route(delete().to(admin::accounts::remove)));
    add(config, v1("/users", "GET").route(get().to(admin::sessions::users)));
    add(config, v1("/users/{id}/events", "POST").route(post().to(admin::direct::to_user)));
    add(config, v1("/users/{id}/sessions", "DELETE").route(delete().to(admin::sessions::disconnect_user)));
}

fn wrong_method(allow: &'static str) -> HttpResponse {
    use actix_web::ResponseError;
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("only {allow} here")).error_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
    response
}

/// Counts a request, and how long it took, by the pattern of its route, never by its path, which a client may choose.
pub(crate) fn count<B>(response: &ServiceResponse<B>, began: Instant) {
    if let Some(state) = response.request().app_data::<web::Data<State>>() {
        let (metrics, route) = (state.hub().metrics(), route(response.request()));
        metrics.http_requests(route, response.status().as_u16()).inc();
        if !WAITING.contains(&route) {
            metrics.http_request_seconds(route).observe_time(began.elapsed());
        }
    }
}

/// Routes whose answers last or wait as their clients like.
const WAITING: [&str; 3] = ["/events", "/topics/{topic:.*}/events", "/poll"];

/// The pattern of a request's route, or `other`.
pub(crate) fn route(request: &HttpRequest) -> &'static str {
    const KNOWN: [&str; 31] = [
        "/",
        "/login",
        "/register",
        "/logout",
        "/me",
        "/assets/{name}",
        "/events",
        "/topics/{topic:.*}/events",
        "/poll",
        "/health",
        "/ready",
        "/metrics",
        "/admin/v1/publish",
        "/admin/v1/publish/batch",
        "/admin/v1/broadcast",
        "/admin/v1/stats",
        "/admin/v1/drain",
        "/admin/v1/log-level",
        "/admin/v1/nodes",
        "/admin/v1/topics",
        "/admin/v1/topics/{topic:.*}/history",
        "/admin/v1/topics/{topic:.*}/sessions",
        "/admin/v1/topics/{topic:.*}",
        "/admin/v1/sessions",
        "/admin/v1/sessions/{id}/events",
        "/admin/v1/sessions/{id}",
        "/admin/v1/accounts",
        "/admin/v1/accounts/{name}",
        "/admin/v1/users",
        "/admin/v1/users/{id}/events",
        "/admin/v1/users/{id}/sessions",
    ];
    let pattern = request.match_pattern();
    KNOWN.into_iter().find(|known| pattern.as_deref() == Some(known)).unwrap_or("other")
}
