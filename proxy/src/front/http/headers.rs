//! Which header fields end at a proxy, and the request that goes on to the origin.
//! Framing and parsing are hyper's; bodies pass untouched.

use hyper::{
    HeaderMap, Method, Request, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::target::Target;

/// Fields about this hop only (RFC 9110 section 7.6.1), besides those `Connection` names.
const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The port of `http` URIs.
const HTTP_PORT: u16 = 80;

/// Why a request cannot be forwarded; every one is answered with 400 but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The request line holds a path only: the client takes us for the origin.
    NotAbsolute,
    /// A scheme we do not forward; `https` goes through CONNECT.
    Scheme,
    /// No valid host and port in the request line.
    Target,
}

/// The origin a request is for: its request line decides, whatever `Host` says
/// (RFC 9112 section 3.2.2).
pub(super) fn target_of(uri: &Uri) -> Result<Target, Unfit> {
    match (uri.scheme_str(), uri.authority()) {
        (None, _) | (_, None) => Err(Unfit::NotAbsolute),
        (Some(scheme), Some(_)) if !scheme.eq_ignore_ascii_case("http") => Err(Unfit::Scheme),
        (Some(_), Some(authority)) => {
            Target::parse(authority.as_str(), Some(HTTP_PORT)).map_err(|_| Unfit::Target)
        }
    }
}

/// Whether the client asks to leave HTTP on this connection, and may: `Connection` must say so.
pub(super) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && names_token(headers, &CONNECTION, "upgrade")
}

/// Whether the client holds its body back until it is asked for.
pub(super) fn wants_continue(headers: &HeaderMap) -> bool {
    names_token(headers, &EXPECT, "100-continue")
}

fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|&b| b == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// Takes off what ends here. An upgrade, where both sides agree on it, is put back; so is
/// `TE: trailers`, which says nothing about this hop's framing that is not true of the next.
pub(super) fn strip(headers: &mut HeaderMap, keep_upgrade: bool) {
    let upgrade = keep_upgrade
        .then(|| headers.get(UPGRADE).cloned())
        .flatten();
    let takes_trailers = names_token(headers, &TE, "trailers");
    // RFC 9112 section 6.1: Content-Length beside Transfer-Encoding must not be passed on.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect();
    for name in named {
        // These frame or address the message whatever a sender claims about them.
        if name != CONTENT_LENGTH && name != HOST {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    let proxied: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("proxy-") && *name != "proxy-status")
        .cloned()
        .collect();
    for name in proxied {
        headers.remove(name);
    }
    debug_assert!(!headers.contains_key(PROXY_AUTHORIZATION));
    debug_assert!(!headers.contains_key(PROXY_AUTHENTICATE));
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Turns a request to the proxy into one to the origin: path only, our version, `Host` from the
/// request line, hop-by-hop fields gone.
pub(super) fn rewrite<B>(request: &mut Request<B>, target: &Target) {
    let keep_upgrade = wants_upgrade(request.headers());
    strip(request.headers_mut(), keep_upgrade);
    let host = match target.port() {
        HTTP_PORT => target.host().to_string(),
        _ => target.to_string(),
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = origin_form(request.uri(), request.method());
    *request.version_mut() = Version::HTTP_11;
}

fn origin_form(uri: &Uri, method: &Method) -> Uri {
    match uri.path_and_query() {
        // RFC 9112 section 3.2.4: OPTIONS without a path asks about the server as a whole.
        Some(path) if method == Method::OPTIONS && path == "/" && !ends_in_slash(uri) => {
            Uri::from_static("*")
        }
        Some(path) => path.clone().into(),
        None => Uri::from_static("/"),
    }
}

/// Whether the path was typed: `http` gives an empty path as `/` too.
fn ends_in_slash(uri: &Uri) -> bool {
    uri.to_string().ends_with('/')
}

#[cfg(test)]
mod tests;
