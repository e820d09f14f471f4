//! Who may see the numbers: whoever knows the token, and without one, whoever asks for the machine itself.
//! What they see is answered elsewhere.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use zeroize::Zeroizing;

use crate::guarded_file::{self, Guard, GuardError};

/// Fewest characters of a token: 96 bits, if they are random and in base 64.
const MIN_TOKEN: usize = 16;

/// What somebody must know to see the numbers.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token in the file at `path`, which only its owner can read.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it can be guessed.
    pub fn read(path: &Path) -> Result<Self, GuardError> {
        let (bytes, _) = guarded_file::read(path, Guard::Secret)?;
        let text = str::from_utf8(&bytes).unwrap_or_default().trim();
        if text.len() < MIN_TOKEN || text.contains(char::is_whitespace) {
            let what = format!("not one line of at least {MIN_TOKEN} characters");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    fn is(&self, said: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), said).is_ok()
    }

    /// Whether the value of an `Authorization` header has it: as a bearer token (RFC 6750), or as the
    /// password of any user (RFC 7617), which is what a browser asks for.
    fn is_in(&self, authorization: &[u8]) -> bool {
        let Some(space) = authorization.iter().position(|&byte| byte == b' ') else {
            return false;
        };
        let (scheme, said) = (&authorization[..space], authorization[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.is(said);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return false;
        }
        let pair = Zeroizing::new(BASE64_STANDARD.decode(said).unwrap_or_default());
        let password = pair
            .iter()
            .position(|&byte| byte == b':')
            .map(|colon| &pair[colon + 1..]);
        password.is_some_and(|password| self.is(password))
    }
}

/// Whether a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Welcome,
    /// The token is missing, or another.
    NoToken,
    /// A page of somebody else's may have asked: its name was made to lead here.
    WrongHost,
}

/// Judges a request by its headers.
pub(super) fn judge(headers: &HeaderMap, token: Option<&Token>) -> Judgement {
    if let Some(token) = token {
        let said = headers.get(AUTHORIZATION);
        return match said.is_some_and(|said| token.is_in(said.as_bytes())) {
            true => Judgement::Welcome,
            false => Judgement::NoToken,
        };
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok_and(is_own) => Judgement::Welcome,
        // A browser always says a host; what says none is no browser.
        (None, None) => Judgement::Welcome,
        _ => Judgement::WrongHost,
    }
}

/// Whether nobody else can have a name `host` that leads here: an address, or localhost.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<SocketAddr>().is_ok()
        || address.parse::<IpAddr>().is_ok()
}
