//! Checks of the lines of `known_hosts` on any bytes, for [`crate::fuzz`].

use super::{HostName, parse};
use crate::openssh;

/// Lines of `known_hosts`: blanks around one mean nothing, and a key that is known as revoked stays so where more
/// names stand before it.
pub fn known_hosts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let host = HostName::new("server.example", 7377);
    for line in text.lines() {
        let parsed = parse(line, &host);
        assert_eq!(parse(&format!(" {line}\t"), &host), parsed);
        if let Ok(Some((key, is_revoked))) = parsed {
            let marker = if is_revoked { "@revoked " } else { "" };
            let named = format!("{marker}other,{host} {}", openssh::format_key(&key));
            assert_eq!(parse(&named, &host), Ok(Some((key, is_revoked))));
        }
    }
    let named = HostName::new(&text, 7377);
    if named.is_writable() {
        assert!(!named.to_string().contains([' ', '\n', ',', '#']));
    }
}
