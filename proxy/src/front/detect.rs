//! Tells from the first byte which protocol a client speaks, so that one port serves them all.
//! Parsing it is the named module's business.

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Version byte 4.
    Socks4,
    /// Version byte 5.
    Socks5,
    /// A method, or the empty line RFC 9112 section 2.2 asks servers to skip before one.
    Http,
    /// A TLS record: the client was told this is an HTTPS proxy.
    Tls,
    /// None of them.
    Unknown,
}

/// The protocol that starts with `first`.
pub(crate) fn detect(first: u8) -> Protocol {
    match first {
        4 => Protocol::Socks4,
        5 => Protocol::Socks5,
        0x16 => Protocol::Tls,
        b'\r' | b'\n' => Protocol::Http,
        // RFC 9110 section 5.6.2: a method is a token.
        b if b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b) => Protocol::Http,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        assert_eq!(detect(5), Protocol::Socks5);
        assert_eq!(detect(4), Protocol::Socks4);
        for method in ["GET", "CONNECT", "M-SEARCH", "get", "\r\nGET"] {
            assert_eq!(detect(method.as_bytes()[0]), Protocol::Http);
        }
        assert_eq!(detect(0x16), Protocol::Tls);
        for byte in [0, 1, 6, b' ', b':', 0x80, 0xff] {
            assert_eq!(detect(byte), Protocol::Unknown);
        }
    }
}
