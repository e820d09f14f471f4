//! Clients without any proxy setting, on `rpclient`'s own machine and behind it as a gateway, by IPv4 and IPv6.

use super::{
    curl::CURL,
    ftp::{LFTP, NCFTP},
    row::{Row, Through},
    servers,
    ssh::{BEFORE, SSH, options},
};

const CURL4: Row = Row {
    needs: &[CURL],
    servers: &[servers::WEB],
    command: "curl -qsSf -o out http://$HOST/$FILE",
    ..Row::FETCH
};

const CURL6: Row = Row {
    command: "curl -gqsSf -o out http://[$HOST6]/$FILE",
    ..CURL4
};

const LFTP4: Row = Row {
    needs: &[LFTP],
    servers: &[servers::FTP],
    command: "lftp -c \"set net:max-retries 1; open ftp://$HOST; get $FILE -o out\"",
    ..Row::FETCH
};

const LFTP6: Row = Row {
    command: "lftp -c \"set net:max-retries 1; open ftp://[$HOST6]; get $FILE -o out\"",
    ..LFTP4
};

const LFTP_ACTIVE: Row = Row {
    command: "lftp -c \"set net:max-retries 1; set ftp:passive-mode no; open ftp://$HOST; get $FILE -o out\"",
    ..LFTP4
};

const NCFTP_PASSIVE: Row = Row {
    needs: &[NCFTP],
    command: "ncftpget -u anonymous -p lab@lab.invalid -F -c $HOST $FILE >out",
    ..LFTP4
};

const SSH4: Row = Row {
    needs: &[SSH],
    servers: &[servers::SSH],
    before: BEFORE,
    command: concat!(
        "ssh ",
        options!(),
        " root@$HOST \"cat '$SERVED/$FILE'\" >out"
    ),
    ..Row::FETCH
};

const SSH6: Row = Row {
    command: concat!(
        "ssh ",
        options!(),
        " root@$HOST6 \"cat '$SERVED/$FILE'\" >out"
    ),
    ..SSH4
};

const fn host(name: &'static str, row: Row) -> Row {
    Row {
        name,
        through: Through::Host,
        ..row
    }
}

const fn gateway(name: &'static str, row: Row) -> Row {
    Row {
        name,
        through: Through::Gateway,
        ..row
    }
}

pub(super) const ROWS: &[Row] = &[
    host("host4-curl", CURL4),
    host("host6-curl", CURL6),
    host("host4-ssh", SSH4),
    host("host6-ssh", SSH6),
    host("host4-lftp-passive", LFTP4),
    host("host4-lftp-active", LFTP_ACTIVE),
    host("host6-lftp-passive", LFTP6),
    host("host4-ncftp-passive", NCFTP_PASSIVE),
    host(
        "host4-ncftp-active",
        Row {
            // By itself it takes no data connection from another address than the server's.
            command: "ncftpget -u anonymous -p lab@lab.invalid -o require20=0,allowProxyForPORT=1 -E -c $HOST $FILE >out",
            ..NCFTP_PASSIVE
        },
    ),
    host(
        "host4-lftp-ftps",
        Row {
            command: "lftp -c \"set net:max-retries 1; set ssl:verify-certificate no; set ftp:ssl-force yes; open ftp://$HOST; get $FILE -o out\"",
            ..LFTP4
        },
    ),
    gateway("gateway4-curl", CURL4),
    gateway("gateway6-curl", CURL6),
    gateway("gateway4-ssh", SSH4),
    gateway("gateway6-ssh", SSH6),
    gateway("gateway4-lftp-passive", LFTP4),
    gateway("gateway4-lftp-active", LFTP_ACTIVE),
    gateway("gateway6-lftp-passive", LFTP6),
    gateway(
        "gateway6-lftp-active",
        Row {
            command: "lftp -c \"set net:max-retries 1; set ftp:passive-mode no; open ftp://[$HOST6]; get $FILE -o out\"",
            ..LFTP4
        },
    ),
];
