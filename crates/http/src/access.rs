//! Who asks, and whether they may: the one place where requests are let through or not.
//!
//! A token comes in the header, the cookie or the query, and the first of these that is there is the one that counts: a bad
//! one is not made good by another. Every request to `/admin/v1` and every subscription passes here, so that no handler can
//! forget to.

use std::{fmt, sync::Arc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    dev::ServiceRequest,
    guard::GuardContext,
    http::{
        StatusCode, Uri,
        header::{self, HeaderMap},
        uri::Authority,
    },
};
use percent_encoding::percent_decode_str;
use towncrier_auth::{Identity, LoginTimes, Minter, Passwords, Refused, Scope, UnixTime, Verifier};
use towncrier_telemetry::{AuthResult, Label, Metrics};
use towncrier_wire::{Name, Selector, Selectors, Topic};

use crate::{cors, directory::Directory, login::Attempts, problem::Problem, query::Query, state::State};

/// Whom a hub lets do what.
#[derive(Clone)]
pub enum Auth {
    /// Nobody is asked who they are.
    Open,
    /// Whoever has a token may do what it says.
    Tokens(Arc<Tokens>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Tokens(_) => "Tokens",
        })
    }
}

/// What a hub with tokens goes by.
pub struct Tokens {
    /// Checks them.
    pub verifier: Verifier,
    /// The name of the cookie that may hold one.
    pub cookie: String,
    /// Which topics may be subscribed to without one.
    pub public: Public,
    /// Whether `/metrics` may be read without one.
    pub public_metrics: bool,
    /// Logins by name and password, if there are any.
    pub logins: Option<Logins>,
}

/// How users log in.
pub struct Logins {
    /// Signs their tokens, with a key that the verifier knows.
    pub minter: Minter,
    /// Who they are.
    pub directory: Directory,
    /// How long they last.
    pub times: LoginTimes,
    /// Checks passwords.
    pub passwords: Passwords,
    /// How often they may try.
    pub attempts: Attempts,
    /// Whether the cookie is for TLS only even where the hub itself speaks none.
    pub always_secure: bool,
    /// To which sites' requests browsers add the cookie.
    pub same_site: SameSite,
}

/// The `SameSite` of the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Not even when somebody follows a link.
    Strict,
    /// When somebody follows a link.
    Lax,
    /// All; for pages of other sites in `cors.origins`. Browsers take that by TLS only.
    None,
}

/// Topic prefixes that may be subscribed to by anybody, or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Public {
    /// For topics of no namespace.
    pub fallback: bool,
    /// Namespaces that say so themselves; the longest that fits holds.
    pub namespaces: Vec<(String, bool)>,
}

impl Public {
    /// Whether everything that fits a selector is public.
    #[must_use]
    pub fn covers(&self, selector: &Selector) -> bool {
        let prefix = selector.prefix();
        let own = self.namespaces.iter().filter(|(namespace, _)| prefix.starts_with(namespace.as_str()));
        let holds = own.max_by_key(|(namespace, _)| namespace.len()).map_or(self.fallback, |(_, public)| *public);
        // A pattern may reach into a namespace below that is not public.
        let reaches = |namespace: &str| matches!(selector, Selector::Pattern(_)) && namespace.starts_with(prefix);
        holds && self.namespaces.iter().all(|(namespace, public)| *public || !reaches(namespace))
    }
}

/// Whoever has sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody was asked.
    Anyone,
    /// They brought no token.
    Nobody,
    /// They brought a good one.
    Known(Arc<Known>),
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) place: Place,
}

/// Where a token was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Header,
    Cookie,
    Query,
}

/// What of a route's must be allowed before its handler is called. Once it is, the request carries it, and routes that need
/// more than nothing are there for such requests only: a path that is taken for another here than by the router leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Pages, probes, logins.
    Nothing,
    /// The handler asks who it is; it may be nobody.
    Caller,
    /// It must be somebody, and the handler asks what they may do. Nothing that nobody sends is read.
    Somebody,
    /// A scope of administration.
    Admin(Scope),
}

fn needs(request: &ServiceRequest, metrics_are_public: bool) -> Needs {
    // The router decodes most of a path before it looks for its route, so all of it is decoded here.
    let path = percent_decode_str(request.path()).decode_utf8_lossy();
    if path == "/metrics" {
        return if metrics_are_public { Needs::Nothing } else { Needs::Admin(Scope::Read) };
    }
    if path.starts_with("/admin/v1/publish") || path == "/me" {
        return Needs::Somebody;
    }
    if path == "/events" || path == "/poll" || path.starts_with("/topics/") {
        return Needs::Caller;
    }
    match path.starts_with("/admin/v1") {
        true if request.method().is_safe() => Needs::Admin(Scope::Read),
        true => Needs::Admin(Scope::Write),
        false => Needs::Nothing,
    }
}

/// Finds out who sends a request, and lets it through if they may; the handler finds the caller in its extensions.
pub(crate) async fn let_in(request: &ServiceRequest, state: &State) -> Result<(), Problem> {
    let Auth::Tokens(tokens) = &state.options.auth else {
        request.extensions_mut().insert(Caller::Anyone);
        request.extensions_mut().insert(Passed::Open);
        return Ok(());
    };
    let needs = needs(request, tokens.public_metrics);
    if needs == Needs::Nothing {
        request.extensions_mut().insert(Passed::As(needs));
        return Ok(());
    }
    let caller = tokens.identify(request.request(), state.hub().metrics()).await?;
    if needs == Needs::Somebody && matches!(caller, Caller::Nobody) {
        return Err(unauthorized("a token is needed"));
    }
    if let Needs::Admin(scope) = needs {
        match &caller {
            Caller::Known(known) if known.identity.rights.may_admin(scope) => {}
            Caller::Known(_) => {
                return Err(forbidden(state, format!("the token lacks the right admin:{}", scope.as_str())));
            }
            Caller::Anyone | Caller::Nobody => return Err(unauthorized("a token is needed")),
        }
    }
    let by_cookie = matches!(&caller, Caller::Known(known) if known.place == Place::Cookie);
    if by_cookie && !request.method().is_safe() {
        require_own_origin(request.headers(), request.uri(), state)?;
    }
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(Passed::As(needs));
    Ok(())
}

/// What a request was let in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// Nobody is asked.
    Open,
    As(Needs),
}

/// Whether a request was let in as one whose caller the handler looks at.
pub(crate) fn is_identified(context: &GuardContext<'_>) -> bool {
    matches!(context.req_data().get(), Some(Passed::Open | Passed::As(Needs::Caller | Needs::Somebody)))
}

/// Whether a request was let in as an administrator's.
pub(crate) fn is_administrator(context: &GuardContext<'_>) -> bool {
    matches!(context.req_data().get(), Some(Passed::Open | Passed::As(Needs::Admin(_))))
}

/// A browser adds the cookie to requests of any page. So a change needs an `Origin`, which pages cannot forge, that is the
/// hub's own or one that the operator named.
pub(crate) fn require_own_origin(headers: &HeaderMap, uri: &Uri, state: &State) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).unwrap_or_default();
    let listed = headers.get(header::ORIGIN).is_some_and(|origin| cors::is_listed(&state.options.origins, origin));
    let host = text(header::HOST).or_else(|| uri.authority().map(Authority::as_str));
    // Behind a proxy that ends TLS the scheme is not known here; the host is enough to tell sites apart.
    let own = origin.split_once("://").is_some_and(|(_, site)| Some(site) == host);
    if own || listed {
        return Ok(());
    }
    let what = if origin.is_empty() { "is missing: a change by cookie needs it" } else { "is another site" };
    Err(Problem::field("Origin", what).with_status(StatusCode::FORBIDDEN))
}

impl Caller {
    /// Of a request that was let in.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Nobody)
    }

    /// Whose sessions are whose.
    pub(crate) fn user(&self) -> Option<&Name> {
        match self {
            Self::Known(known) => known.identity.user.as_ref(),
            Self::Anyone | Self::Nobody => None,
        }
    }

    /// For how much longer the caller's token is good.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::Known(known) => known.identity.expires_at.map(|at| at.since(UnixTime::now())),
            Self::Anyone | Self::Nobody => None,
        }
    }

    /// Whether they may have these selectors; names the first that they may not.
    pub(crate) fn may_subscribe(&self, selectors: &Selectors, state: &State) -> Result<(), Problem> {
        let Auth::Tokens(tokens) = &state.options.auth else { return Ok(()) };
        for selector in selectors.iter().filter(|selector| !tokens.public.covers(selector)) {
            match self {
                Self::Known(known) if known.identity.rights.may_subscribe(selector) => {}
                Self::Known(_) => {
                    let what = format!("the token does not allow to subscribe to {:?}", selector.as_str());
                    return Err(forbidden(state, what).about("topic"));
                }
                Self::Anyone | Self::Nobody => return Err(unauthorized("a token is needed to subscribe")),
            }
        }
        Ok(())
    }

    /// Whether they may publish to a topic, which is under this name in the request.
    pub(crate) fn may_publish(&self, topic: &Topic, field: &str, state: &State) -> Result<(), Problem> {
        match self {
            Self::Anyone => Ok(()),
            Self::Known(known) if known.identity.rights.may_publish(topic) => Ok(()),
            Self::Known(_) => {
                let what = format!("the token does not allow to publish to {:?}", topic.as_str());
                Err(forbidden(state, what).about(field))
            }
            Self::Nobody => Err(unauthorized("a token is needed to publish")),
        }
    }
}

impl Tokens {
    async fn identify(&self, request: &HttpRequest, metrics: &Metrics) -> Result<Caller, Problem> {
        let found = self.find(request);
        let malformed = |_: &Problem| _ = metrics.auth.of(AuthResult::Malformed).inc();
        let Some((token, place)) = found.inspect_err(malformed)? else {
            metrics.auth.of(AuthResult::None).inc();
            return Ok(Caller::Nobody);
        };
        match self.verifier.verify_or_renew(&token, UnixTime::now()).await {
            Ok(identity) => {
                metrics.auth.of(AuthResult::Accepted).inc();
                Ok(Caller::Known(Arc::new(Known { identity, place })))
            }
            Err(refused) => {
                let reason = refused.reason();
                let known = AuthResult::ALL.iter().copied().find(|result| result.value() == reason);
                metrics.auth.of(known.unwrap_or(AuthResult::Malformed)).inc();
                tracing::debug!(reason, "a token was refused");
                Err(match refused {
                    Refused::KeysUnavailable => Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
                    refused => unauthorized(refused.to_string()),
                })
            }
        }
    }

    /// The token of a request, and where it was.
    pub(crate) fn find(&self, request: &HttpRequest) -> Result<Option<(String, Place)>, Problem> {
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        if let Some(value) = headers.next() {
            // What a proxy in front took for the one may not be what is taken here.
            if headers.next().is_some() {
                return Err(unauthorized("there are two headers Authorization"));
            }
            let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
            let token =
                bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
            let token = token.ok_or_else(|| unauthorized("the header Authorization is not Bearer TOKEN"))?;
            return Ok(Some((token.to_owned(), Place::Header)));
        }
        let cookies = request.headers().get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
        let mut own = cookies.flat_map(|value| value.split(';')).filter_map(|cookie| {
            cookie.trim().split_once('=').filter(|(name, _)| *name == self.cookie).map(|(_, value)| value)
        });
        if let Some(token) = own.next().filter(|token| !token.is_empty()) {
            if own.any(|other| other != token) {
                return Err(unauthorized(format!("there are two different cookies {}", self.cookie)));
            }
            return Ok(Some((token.to_owned(), Place::Cookie)));
        }
        let query = Query::parse(request.query_string())?;
        let mut tokens = query.all(Query::TOKEN);
        match (tokens.next(), tokens.next()) {
            (None, _) => Ok(None),
            (Some(token), None) => Ok(Some((token.to_owned(), Place::Query))),
            (Some(_), Some(_)) => Err(unauthorized("there are two parameters token")),
        }
    }
}

/// Nobody is known, or nobody that counts. It stops an `EventSource`, as it should.
pub(crate) fn unauthorized(what: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, what)
}

fn forbidden(state: &State, what: String) -> Problem {
    state.hub().metrics().auth.of(AuthResult::Forbidden).inc();
    Problem::new(StatusCode::FORBIDDEN, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_public_only_if_all_that_fits_it_is() {
        let public = Public {
            fallback: false,
            namespaces: vec![("open/".into(), true), ("open/secret/".into(), false), ("news".into(), true)],
        };
        let covers = |text: &str| public.covers(&Selector::new(text).unwrap());
        for selector in ["open/a", "open/a/b", "open/a/*", "open/a/**", "news", "newspaper", "news/*"] {
            assert!(covers(selector), "{selector}");
        }
        for selector in
            ["a", "open", "open/**", "open/*", "open/*/x", "open/secret/a", "open/secret/*", "**", "*", "new/*"]
        {
            assert!(!covers(selector), "{selector}");
        }
        let all = Public { fallback: true, namespaces: vec![("secret/".into(), false)] };
        assert!(all.covers(&Selector::new("a/*").unwrap()));
        assert!(!all.covers(&Selector::new("**").unwrap()));
        assert!(!all.covers(&Selector::new("secret/a").unwrap()));
    }
}
