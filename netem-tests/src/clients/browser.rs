//! Chromium without a window, which downloads a file.

use super::{
    row::{Package, Row, Through},
    servers,
};

const DOWNLOAD: Row = Row {
    needs: &[Package {
        name: "chromium",
        file: "/usr/bin/chromium",
    }],
    servers: &[servers::WEB],
    // Files by plain HTTP are kept back until somebody clicks, unless their origin is trusted.
    // It goes on when it has the file, which has its name only when it is whole.
    command: "chromium --headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
        --unsafely-treat-insecure-origin-as-secure=http://$HOST \
        --user-data-dir=\"$GOT/profile\" {via} http://$HOST/$FILE >chromium.log 2>&1 & browser=$!\n\
        until [ -f \"$HOME/Downloads/$FILE\" ]; do kill -0 $browser; sleep 0.02; done\n\
        kill $browser; mv \"$HOME/Downloads/$FILE\" out",
    ..Row::FETCH
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "chromium-http",
        through: Through::Setting("--proxy-server=http://$PROXY"),
        ..DOWNLOAD
    },
    Row {
        name: "chromium-socks5",
        through: Through::Setting("--proxy-server=socks5://$PROXY"),
        ..DOWNLOAD
    },
];
