//! curl by every proxy protocol it speaks.

use super::{
    row::{Package, Row, Through},
    servers,
};

pub(super) const CURL: Package = Package {
    name: "curl",
    file: "/usr/bin/curl",
};

const HTTP: Row = Row {
    needs: &[CURL],
    servers: &[servers::WEB],
    command: "curl -qsSf {via} -o out http://$HOST/$FILE",
    ..Row::FETCH
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "curl-http",
        through: Through::Setting("-x http://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-connect",
        through: Through::Setting("-p -x http://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-socks4",
        through: Through::Setting("-x socks4://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-socks4a",
        through: Through::Setting("-x socks4a://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-socks5",
        through: Through::Setting("-x socks5://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-socks5h",
        through: Through::Setting("-x socks5h://$PROXY"),
        ..HTTP
    },
    Row {
        name: "curl-http2",
        command: "curl -qsSfk --http2 {via} -o out https://$HOST/$FILE",
        through: Through::Setting("-x http://$PROXY"),
        ..HTTP
    },
];
