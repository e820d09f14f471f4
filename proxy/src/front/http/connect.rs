//! CONNECT: what its request names, and the head of a tunnel. Dialling is the session's.

use bytes::Bytes;

use super::{answer::Answer, forward::date};
use crate::target::{Target, TargetError};

/// The target of a CONNECT request: authority form with a port, and nothing else.
pub(super) fn target_of(target: &[u8]) -> Result<Target, TargetError> {
    let authority = std::str::from_utf8(target).map_err(|_| TargetError::Host)?;
    Target::parse(authority, None)
}

/// The answer to a CONNECT that names nothing.
pub(super) fn bad_target(error: TargetError) -> Answer {
    Answer::new(400, format!("{error}; send `CONNECT host:port HTTP/1.1`."))
}

/// The head behind which the tunnel begins: no field about a body (RFC 9110 section 9.3.6).
pub(super) fn established() -> Bytes {
    format!(
        "HTTP/1.1 200 Connection Established\r\nDate: {}\r\n\r\n",
        date()
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_authority_form_with_a_port_names_a_target() {
        let target = |target: &str| target_of(target.as_bytes()).map(|t| t.to_string());
        assert_eq!(target("a.example:443").as_deref(), Ok("a.example:443"));
        assert_eq!(
            target("[2001:db8::1]:22").as_deref(),
            Ok("[2001:db8::1]:22")
        );
        assert_eq!(target("a.example"), Err(TargetError::Port));
        assert_eq!(target("a.example:"), Err(TargetError::Port));
        assert_eq!(target("a.example:0"), Err(TargetError::Port));
        assert!(target("http://a.example:80/").is_err());
        assert_eq!(target("user@a.example:80"), Err(TargetError::Host));
        assert!(target("/").is_err());
        assert_eq!(target_of(b"\xff:80"), Err(TargetError::Host));
    }
}
