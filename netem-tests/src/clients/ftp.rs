//! FTP clients with a proxy setting, and the vendor's case; those without one are in `transparent`.

use super::{
    curl::CURL,
    row::{Package, Row, Through},
    servers,
};

pub(super) const LFTP: Package = Package {
    name: "lftp",
    file: "/usr/bin/lftp",
};
pub(super) const NCFTP: Package = Package {
    name: "ncftp",
    file: "/usr/bin/ncftpget",
};
const PROXYCHAINS: Package = Package {
    name: "proxychains4",
    file: "/usr/bin/proxychains4",
};

const LFTP_ROW: Row = Row {
    needs: &[LFTP],
    servers: &[servers::FTP],
    command: "lftp -c \"set net:max-retries 1; {via} open ftp://$HOST; get $FILE -o out\"",
    ..Row::FETCH
};

const CURL_ROW: Row = Row {
    needs: &[CURL],
    servers: &[servers::FTP],
    command: "curl -qsSf {via} -o out ftp://$HOST/$FILE",
    ..Row::FETCH
};

/// A gigabyte over 200 ms.
const VENDOR: Row = Row {
    bytes: 1_000_000_000,
    plain_bytes: 1_000_000_000,
    round_trip_ms: 200,
    at_most_s: Some(95.0),
    is_on_request: true,
    ..CURL_ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "lftp-ftp-over-http",
        through: Through::Setting("set ftp:proxy http://$PROXY;"),
        ..LFTP_ROW
    },
    Row {
        name: "lftp-connect",
        through: Through::Setting("set ftp:use-hftp no; set ftp:proxy http://$PROXY;"),
        ..LFTP_ROW
    },
    Row {
        name: "lftp-connect-ftps",
        command: "lftp -c \"set net:max-retries 1; set ssl:verify-certificate no; set ftp:ssl-force yes; {via} open ftp://$HOST; get $FILE -o out\"",
        through: Through::Setting("set ftp:use-hftp no; set ftp:proxy http://$PROXY;"),
        ..LFTP_ROW
    },
    Row {
        name: "ncftp-proxychains",
        needs: &[NCFTP, PROXYCHAINS],
        servers: &[servers::FTP],
        before: "printf 'quiet_mode\\n[ProxyList]\\nsocks5 %s %s\\n' $PROXY_HOST $PROXY_PORT >chains.conf",
        command: "{via} ncftpget -u anonymous -p lab@lab.invalid -F -c $HOST $FILE >out",
        through: Through::Setting("proxychains4 -q -f chains.conf"),
        ..Row::FETCH
    },
    Row {
        name: "curl-ftp-over-http",
        through: Through::Setting("-x http://$PROXY"),
        ..CURL_ROW
    },
    Row {
        name: "curl-ftp-connect",
        through: Through::Setting("-p -x http://$PROXY"),
        ..CURL_ROW
    },
    Row {
        name: "curl-ftp-socks5h",
        through: Through::Setting("-x socks5h://$PROXY"),
        ..CURL_ROW
    },
    Row {
        name: "vendor-curl-ftp",
        through: Through::Setting("-x socks5h://$PROXY"),
        ..VENDOR
    },
    Row {
        name: "vendor-lftp",
        needs: &[LFTP],
        command: LFTP_ROW.command,
        through: Through::Setting("set ftp:use-hftp no; set ftp:proxy http://$PROXY;"),
        ..VENDOR
    },
];
