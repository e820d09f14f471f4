//! The head that goes on to the other side: which fields end at a proxy, and which it writes.
//! Reading heads is `head`'s; bodies pass through `body`.

use std::time::SystemTime;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    fields::{Field, Fields},
    framing::{Framing, decimal, has_content},
    head::{RequestHead, ResponseHead, is_token},
};
use crate::target::Target;

/// The port of `http` URIs.
pub(super) const HTTP_PORT: u16 = 80;

/// Why a request cannot be forwarded; every one is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The request line holds a path only: the client takes us for the origin.
    NotAbsolute,
    /// A scheme we do not forward; `https` goes through CONNECT.
    Scheme,
    /// No valid host and port in the request line.
    Target,
    /// No `Host` in an HTTP/1.1 request, several of them, or one that is no host.
    Host,
    /// `Max-Forwards` is not a number.
    MaxForwards,
}

/// The origin a request is for, and the rest of its target as it came: path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) target: Target,
    /// Perhaps empty, perhaps beginning with `?`.
    pub(super) path: Bytes,
}

impl Route {
    /// Reads an absolute-form target: it decides, whatever `Host` says.
    //= spec/10-proxy.md#http
    //# The target of an absolute-form request MUST be taken from its request line, whatever
    //# `Host` says.
    pub(super) fn of(target: &Bytes) -> Result<Self, Unfit> {
        if target.starts_with(b"/") || target.as_ref() == b"*" {
            return Err(Unfit::NotAbsolute);
        }
        let scheme_end = target.windows(3).position(|window| window == b"://");
        let at = scheme_end.ok_or(Unfit::NotAbsolute)?;
        if !target[..at].eq_ignore_ascii_case(b"http") {
            return Err(Unfit::Scheme);
        }
        let rest = target.slice(at + 3..);
        let end = rest.iter().position(|b| b"/?#".contains(b));
        let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
        let authority = std::str::from_utf8(authority).map_err(|_| Unfit::Target)?;
        // An empty port is the default one (RFC 9110 section 4.2.3).
        let authority = authority.strip_suffix(':').unwrap_or(authority);
        let target = Target::parse(authority, Some(HTTP_PORT)).map_err(|_| Unfit::Target)?;
        let path = rest.slice_ref(path);
        Ok(Self { target, path })
    }

    /// What the origin gets in the request line: the bytes the client sent, with a path in front
    /// where there is none.
    //= spec/10-proxy.md#http
    //# The path and the query of a target MUST pass byte for byte.
    fn origin_form(&self, method: &[u8]) -> Bytes {
        match self.path.first() {
            // OPTIONS without a path asks about the server as a whole (RFC 9112 section 3.2.4).
            None if method == b"OPTIONS" => Bytes::from_static(b"*"),
            None => Bytes::from_static(b"/"),
            Some(b'/') => self.path.clone(),
            Some(_) => [b"/".as_slice(), &self.path].concat().into(),
        }
    }

    /// What the origin gets as `Host`.
    fn host(&self) -> String {
        match self.target.port() {
            HTTP_PORT => self.target.host().to_string(),
            _ => self.target.to_string(),
        }
    }
}

/// Checks `Host` as every server has to, although the request line names the target.
//= spec/10-proxy.md#http
//# A request with more than one `Host`, an HTTP/1.1 request without one and one whose `Host` is no
//# host MUST be answered with 400.
pub(super) fn check_host(head: &RequestHead) -> Result<(), Unfit> {
    let mut hosts = head.fields.all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version.is_old() => Ok(()),
        (Some(host), None) if is_host(host) => Ok(()),
        _ => Err(Unfit::Host),
    }
}

/// Whether `value` can be `uri-host [ ":" port ]`; an empty one can.
fn is_host(value: &[u8]) -> bool {
    let is_char =
        |b: &u8| b.is_ascii_alphanumeric() || !b.is_ascii() || b"-._~%!$&'()*+;=[]:".contains(b);
    value.iter().all(is_char)
}

/// What `Max-Forwards` says where it counts.
pub(super) fn max_forwards(head: &RequestHead) -> Result<Option<u64>, Unfit> {
    if !matches!(head.method.as_ref(), b"TRACE" | b"OPTIONS") {
        return Ok(None);
    }
    let mut values = head.fields.all("max-forwards");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => decimal(value).map(Some).ok_or(Unfit::MaxForwards),
        _ => Err(Unfit::MaxForwards),
    }
}

/// Whether the client asks to leave HTTP on this connection, and may.
pub(super) fn wants_upgrade(head: &RequestHead) -> bool {
    let asks = head.fields.has("upgrade") && head.fields.has_member("connection", "upgrade");
    // RFC 9110 section 7.8: HTTP/1.0 does not know it.
    asks && !head.version.is_old()
}

/// Whether a 101 switches to what the client offered, and to nothing else.
pub(super) fn is_offered(request: &RequestHead, response: &ResponseHead) -> bool {
    let mut chosen = response.fields.members("upgrade");
    wants_upgrade(request)
        && chosen.all(|protocol| {
            let mut offered = request.fields.members("upgrade");
            offered.any(|offer| offer.eq_ignore_ascii_case(protocol))
        })
}

/// The request that goes to the origin.
pub(super) fn request(
    head: &RequestHead,
    route: &Route,
    framing: Framing,
    hops: Option<u64>,
) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(&head.method);
    out.put_u8(b' ');
    out.put_slice(&route.origin_form(&head.method));
    out.put_slice(b" HTTP/1.1\r\nHost: ");
    out.put_slice(route.host().as_bytes());
    out.put_slice(b"\r\n");
    let mut fields = head.fields.clone();
    strip(&mut fields);
    fields.remove("host");
    if let Some(hops) = hops {
        fields.remove("max-forwards");
        fields.push("Max-Forwards", hops.saturating_sub(1).to_string());
    }
    // RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is ignored, for nobody could tell
    // it to go on.
    if head.version.is_old() {
        fields.remove("expect");
    }
    frame(&mut fields, framing);
    let takes_trailers = head.fields.has_member("te", "trailers");
    if takes_trailers {
        fields.push("TE", "trailers");
    }
    let upgrade = wants_upgrade(head);
    if upgrade {
        pass_upgrade(&head.fields, &mut fields);
    }
    // RFC 9110 sections 7.8 and 10.1.4: both name themselves in `Connection`.
    match (upgrade, takes_trailers) {
        (true, true) => fields.push("Connection", "upgrade, TE"),
        (true, false) => fields.push("Connection", "upgrade"),
        (false, true) => fields.push("Connection", "TE"),
        (false, false) => {}
    }
    fields.write(&mut out);
    out.put_slice(b"\r\n");
    out.freeze()
}

/// The response that goes to the client, final or informational. `framing` is that towards the
/// client.
pub(super) fn response(head: &ResponseHead, framing: Framing, closes: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(format!("HTTP/1.1 {} ", head.status).as_bytes());
    out.put_slice(&head.reason);
    out.put_slice(b"\r\n");
    let mut fields = head.fields.clone();
    let lengths: Vec<Bytes> = fields.all("content-length").cloned().collect();
    strip(&mut fields);
    match framing {
        // To HEAD and in 304 it says what GET would have brought (RFC 9110 section 8.6).
        Framing::None if has_content(head.status) || head.status == 304 => {
            let is_coded = head.fields.has("transfer-encoding");
            if let [length, ..] = lengths.as_slice()
                && !is_coded
                && lengths.iter().all(|other| other == length)
                && decimal(length).is_some()
            {
                fields.push("Content-Length", length.clone());
            }
        }
        framing => frame(&mut fields, framing),
    }
    let is_informational = head.status < 200;
    // RFC 9110 section 6.6.1: who forwards a response without a date adds it.
    if !is_informational && !fields.has("date") {
        fields.push("Date", date());
    }
    if matches!(head.status, 101 | 426) && head.fields.has("upgrade") {
        pass_upgrade(&head.fields, &mut fields);
        fields.push(
            "Connection",
            if closes { "upgrade, close" } else { "upgrade" },
        );
    } else if closes {
        fields.push("Connection", "close");
    }
    fields.write(&mut out);
    out.put_slice(b"\r\n");
    out.freeze()
}

/// The trailer fields that go on: none that frame or route a message, or are about one hop.
pub(super) fn trailers(head: &Fields, mut trailers: Fields) -> Fields {
    let named = connection_options(head);
    trailers
        .retain(|field| !is_about_hop(field, &named) && !is_framing(field) && !field.is("host"));
    trailers
}

/// Takes off what ends here. `Content-Length` is written anew from what was understood.
//= spec/10-proxy.md#http
//# Hop-by-hop fields MUST be removed in both directions, an agreed `Upgrade` excepted.
fn strip(fields: &mut Fields) {
    let named = connection_options(fields);
    fields.retain(|field| !is_about_hop(field, &named) && !is_framing(field));
}

/// The names that `Connection` lists, but for `Host`, which addresses the message whatever a
/// sender claims about it.
fn connection_options(fields: &Fields) -> Vec<Vec<u8>> {
    fields
        .members("connection")
        .filter(|option| is_token(option) && !option.eq_ignore_ascii_case(b"host"))
        .map(<[u8]>::to_ascii_lowercase)
        .collect()
}

fn is_about_hop(field: &Field, named: &[Vec<u8>]) -> bool {
    const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "te", "upgrade"];
    //= spec/10-proxy.md#http
    //# A front end MUST NOT forward `Proxy-Authorization`.
    HOP_BY_HOP.iter().any(|name| field.is(name))
        || (field.begins_with("proxy-") && !field.is("proxy-status"))
        || named
            .iter()
            .any(|name| field.name.eq_ignore_ascii_case(name))
}

fn is_framing(field: &Field) -> bool {
    field.is("content-length") || field.is("transfer-encoding")
}

/// Writes what ends the body; the end of the connection needs no field.
fn frame(fields: &mut Fields, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Sized(len) => fields.push("Content-Length", len.to_string()),
        Framing::Chunked => fields.push("Transfer-Encoding", "chunked"),
    }
}

/// Copies what is offered or chosen to switch to.
pub(super) fn pass_upgrade(from: &Fields, to: &mut Fields) {
    for protocols in from.all("upgrade") {
        to.push("Upgrade", protocols.clone());
    }
}

/// The time in the form of HTTP.
pub(super) fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

#[cfg(test)]
mod tests;
