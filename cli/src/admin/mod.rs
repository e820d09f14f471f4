//! What a running program shows over HTTP on `--admin`: a status page, its numbers, metrics, and whether it
//! is well. Everything can only be read. The numbers are made in `status`.

mod guard;
mod metrics;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rp_proxy::places::{ClientPlace, Places};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::{debug, warn};

pub use self::guard::Token;
use self::guard::{Judgement, judge};
use crate::{
    address::{self, ListenAddress},
    exit_code::Failure,
    status::Numbers,
};

#[cfg(test)]
mod tests;

/// The status page; it asks for nothing but `status.json` beside it.
const PAGE: &str = include_str!("page.html");

/// What the page may do: its own styles and script, and asking where it came from.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Connections at once; more wait in the listener's backlog. A page has one or two.
const MAX_CONNECTIONS: usize = 64;

/// How long a head may take to come; also how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last, however little of an answer is taken at a time.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Longest head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Pause after `accept` failed, in which descriptors may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the numbers are shown, and to whom.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// TCP address to listen on.
    pub listen: ListenAddress,
    /// What whoever asks must know.
    pub token: Option<Token>,
}

impl AdminSettings {
    /// What `--admin` and `--admin-token-file` say.
    ///
    /// # Errors
    /// One of them cannot be understood, or the token is not secret.
    pub fn new(text: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let listen: ListenAddress = text
            .parse()
            .map_err(|error| Failure::option("admin", format!("--admin {text}: {error}")))?;
        let token = token_file.map(|path| {
            Token::read(path).map_err(|error| {
                let text = format!("--admin-token-file {}: {error}", path.display());
                Failure::option("admin-token-file", text)
            })
        });
        let token = token.transpose()?;
        // What a name stands for is known when it is listened on.
        let is_open = match text.parse::<SocketAddr>() {
            Ok(address) => !address.ip().to_canonical().is_loopback(),
            Err(_) => text.starts_with(':'),
        };
        match is_open && token.is_none() {
            true => Err(needs_token(&listen)),
            false => Ok(Self { listen, token }),
        }
    }
}

fn needs_token(listen: &ListenAddress) -> Failure {
    let text = format!(
        "--admin {listen}: other machines can reach it, which needs --admin-token-file; make one with: \
         (umask 077; head -c 24 /dev/urandom | base64 > FILE)"
    );
    Failure::option("admin", text)
}

/// A listener for those who ask for numbers.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    local: SocketAddr,
    token: Option<Token>,
}

impl Admin {
    /// Listens, if that is wanted.
    ///
    /// # Errors
    /// It cannot listen there, or others could ask without a token.
    pub async fn open(settings: Option<&AdminSettings>) -> Result<Option<Self>, Failure> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        let failed = |error: io::Error| {
            address::cannot_listen(format_args!("tcp {}", settings.listen), &error)
        };
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let addresses = settings.listen.resolve(loopback).await.map_err(failed)?;
        let is_open = addresses
            .iter()
            .any(|address| !address.ip().to_canonical().is_loopback());
        if is_open && settings.token.is_none() {
            return Err(needs_token(&settings.listen));
        }
        let listener = TcpListener::bind(&addresses[..]).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(Some(Self {
            listener,
            local,
            token: settings.token.clone(),
        }))
    }

    /// The address it listens on.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Answers those who ask for the numbers of a program. Ends only if dropped.
pub async fn serve(admin: Option<Admin>, numbers: impl Numbers) {
    let Some(Admin {
        listener, token, ..
    }) = admin
    else {
        return std::future::pending().await;
    };
    let shared = Arc::new((numbers, token));
    let places = Places::new(MAX_CONNECTIONS);
    loop {
        let place = places.free().await;
        match listener.accept().await {
            Ok((tcp, from)) => match places.take(place, from.ip()) {
                Some(place) => {
                    tokio::spawn(connection(tcp, shared.clone(), place));
                }
                None => debug!(%from, "the host has its share of the status page"),
            },
            Err(error) => {
                warn!(%error, "cannot accept a connection for the status page");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<N: Numbers>(
    tcp: TcpStream,
    shared: Arc<(N, Option<Token>)>,
    _place: ClientPlace,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &shared.0, shared.1.as_ref());
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(HEAD_TIMEOUT);
    http.max_buf_size(MAX_HEAD_BYTES);
    let serving = http.serve_connection(TokioIo::new(tcp), service);
    if let Ok(Err(error)) = tokio::time::timeout(MAX_AGE, serving).await {
        debug!(%error, "connection for the status page failed");
    }
}

/// What is answered to `request`, whose body nobody reads.
fn answer<B>(
    request: &Request<B>,
    numbers: &impl Numbers,
    token: Option<&Token>,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "everything here can only be read\n",
        );
    }
    let path = request.uri().path();
    if path == "/healthz" {
        // Whoever watches over the program has no token, and learns no more than this.
        let status = numbers.status();
        let code = match status.is_well() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        return plain(code, &(status.state + "\n"));
    }
    match judge(request.headers(), token) {
        Judgement::Welcome => {}
        Judgement::NoToken => {
            let mut response = plain(StatusCode::UNAUTHORIZED, "this needs the token\n");
            let ask = header::HeaderValue::from_static("Basic realm=\"rapidpath: the token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            return response;
        }
        Judgement::WrongHost => {
            let text = "ask for this by address or as localhost, or with the token\n";
            return plain(StatusCode::MISDIRECTED_REQUEST, text);
        }
    }
    match path {
        "/" => {
            let mut response = with_type("text/html; charset=utf-8", PAGE.into());
            let policy = header::HeaderValue::from_static(PAGE_POLICY);
            response
                .headers_mut()
                .insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        "/status.json" => match serde_json::to_vec(&numbers.status()) {
            Ok(json) => with_type("application/json", json.into()),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        "/metrics" => match metrics::encode(numbers.status()) {
            Ok(text) => with_type(metrics::CONTENT_TYPE, text.into()),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are /, /status.json, /metrics and /healthz\n",
        ),
    }
}

fn plain(code: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = with_type(
        "text/plain; charset=utf-8",
        Bytes::copy_from_slice(text.as_bytes()),
    );
    *response.status_mut() = code;
    response
}

fn with_type(kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}
