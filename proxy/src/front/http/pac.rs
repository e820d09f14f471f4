//! The file that tells browsers to use this proxy (proxy auto-config).

use std::net::SocketAddr;

use bytes::Bytes;

use super::{answer::Answer, forward::HTTP_PORT, head::RequestHead};
use crate::target::Target;

/// The path browsers are told by hand, and the one they look for by themselves.
const PATHS: [&[u8]; 2] = [b"/proxy.pac", b"/wpad.dat"];

const KIND: &str = "application/x-ns-proxy-autoconfig";

/// Whether `head` asks for the file.
pub(super) fn is_asked(head: &RequestHead) -> bool {
    let path = head.target.split(|&b| b == b'?').next().unwrap_or_default();
    matches!(head.method.as_ref(), b"GET" | b"HEAD") && PATHS.contains(&path)
}

/// The file, for a client that reached us at `local`.
pub(super) fn answer(head: &RequestHead, local: SocketAddr) -> Answer {
    Answer::with_content(200, KIND, content(head, local)).with("Cache-Control", "no-cache")
}

/// Names the address as the client wrote it, which is the one that works from where it is.
pub(super) fn content(head: &RequestHead, local: SocketAddr) -> Bytes {
    let host = head.fields.all("host").next();
    let host = host.and_then(|host| std::str::from_utf8(host).ok());
    // What is a target can be put in quotation marks.
    let proxy = host
        .and_then(|host| Target::parse(host, Some(HTTP_PORT)).ok())
        .map_or_else(|| local.to_string(), |target| target.to_string());
    format!(
        "function FindProxyForURL(url, host) {{\n  \
           if (host == \"localhost\" || host == \"[::1]\" || shExpMatch(host, \"127.*\")) return \"DIRECT\";\n  \
           return \"PROXY {proxy}; SOCKS5 {proxy}\";\n\
         }}\n"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::front::http::head::HeadEnd;

    fn head(text: &str) -> RequestHead {
        let mut bytes = BytesMut::from(text);
        RequestHead::take(&mut bytes, &mut HeadEnd::default())
            .unwrap()
            .unwrap()
    }

    fn file(host: &str) -> String {
        let head = head(&format!("GET /proxy.pac HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let local = "192.0.2.1:1080".parse().unwrap();
        String::from_utf8(content(&head, local).to_vec()).unwrap()
    }

    #[test]
    fn the_address_is_the_one_the_client_wrote() {
        assert!(
            file("proxy.example:1080")
                .contains("\"PROXY proxy.example:1080; SOCKS5 proxy.example:1080\"")
        );
        assert!(file("[::1]:8080").contains("PROXY [::1]:8080;"));
        assert!(file("proxy.example").contains("PROXY proxy.example:80;"));
    }

    #[test]
    fn nothing_gets_out_of_the_quotation_marks() {
        for host in ["a\"; evil(); \"", "a'b", "", "a;b", "a\\b"] {
            assert!(
                file(host).contains("\"PROXY 192.0.2.1:1080; SOCKS5 192.0.2.1:1080\""),
                "{host}"
            );
        }
    }

    #[test]
    fn only_the_file_is_asked_for() {
        let asked = |line: &str| is_asked(&head(&format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n")));
        assert!(asked("GET /proxy.pac") && asked("HEAD /wpad.dat") && asked("GET /proxy.pac?1"));
        assert!(!asked("GET /") && !asked("POST /proxy.pac") && !asked("GET http://a/proxy.pac"));
    }
}
