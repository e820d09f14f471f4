//! WebSocket through CONNECT and by an `Upgrade` of a request in absolute form.

use super::{
    curl::CURL,
    row::{Package, Row, Through},
    servers,
};

const LIBRARY: Package = Package {
    name: "python3-websocket",
    file: "/usr/lib/python3/dist-packages/websocket/__init__.py",
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "curl-websocket",
        needs: &[CURL],
        servers: &[servers::WEBSOCKET],
        // The head of the one frame is ten bytes long (RFC 6455, section 5.2).
        command: "curl -qsSN {via} --max-time 110 -o frames -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
            -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bGFiIGxhYiBsYWIgbGFiIQ==' \
            http://$HOST:8080/ & client=$!\n\
            wanted=$(stat -c %s \"$SERVED/$FILE\")\n\
            until [ \"$(stat -c %s frames 2>/dev/null || echo 0)\" -ge $((wanted + 10)) ]; do\n\
            kill -0 $client; sleep 0.02; done\n\
            kill $client; tail -c +11 frames | head -c $wanted >out",
        through: Through::Setting("-x http://$PROXY"),
        ..Row::FETCH
    },
    Row {
        name: "python-websocket",
        needs: &[LIBRARY],
        servers: &[servers::WEBSOCKET],
        command: r#"{via} /usr/bin/python3 -c '
import os, websocket
proxy = os.environ.get("via", ":").split(":")
socket = websocket.create_connection(
    "ws://" + os.environ["HOST"] + ":8080/parts",
    http_proxy_host=proxy[0] or None, http_proxy_port=proxy[1] or None, proxy_type="http",
    timeout=60)
with open("out", "wb") as out:
    while part := socket.recv():
        out.write(part)
'"#,
        through: Through::Setting("via=$PROXY"),
        ..Row::FETCH
    },
];
