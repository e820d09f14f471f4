//! OpenSSH's programs, and rsync over them and by its own daemon.

use super::{
    row::{Package, Row, Through},
    servers,
};

pub(super) const SSH: Package = Package {
    name: "openssh-client",
    file: "/usr/bin/ssh",
};
const RSYNC: Package = Package {
    name: "rsync",
    file: "/usr/bin/rsync",
};

/// What every client of the lab's sshd is told.
macro_rules! options {
    () => {
        "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i key"
    };
}

pub(super) use options;

/// The key that the server of [`servers::SSH`] has let in.
pub(super) const BEFORE: &str = "cp \"$SERVED/client_key\" key && chmod 600 key";

const OVER_SSH: Row = Row {
    needs: &[SSH],
    servers: &[servers::SSH],
    before: BEFORE,
    through: Through::Setting("-o ProxyCommand=\"$CONNECT %h %p\""),
    ..Row::FETCH
};

const DAEMON: Row = Row {
    needs: &[RSYNC],
    servers: &[servers::RSYNC],
    command: "{via} rsync --whole-file rsync://$HOST/lab/$FILE out",
    ..Row::FETCH
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "ssh",
        command: concat!(
            "ssh ",
            options!(),
            " {via} root@$HOST \"cat '$SERVED/$FILE'\" >out"
        ),
        ..OVER_SSH
    },
    Row {
        name: "scp",
        command: concat!(
            "scp -q ",
            options!(),
            " {via} root@$HOST:\"$SERVED/$FILE\" out"
        ),
        ..OVER_SSH
    },
    Row {
        name: "sftp",
        command: concat!(
            "sftp -q ",
            options!(),
            " {via} root@$HOST:\"$SERVED/$FILE\" out"
        ),
        ..OVER_SSH
    },
    Row {
        name: "rsync-over-ssh",
        needs: &[SSH, RSYNC],
        command: concat!(
            "rsync --whole-file -e \"ssh ",
            options!(),
            " {via}\" root@$HOST:\"$SERVED/$FILE\" out"
        ),
        through: Through::Setting("-o 'ProxyCommand=$CONNECT %h %p'"),
        ..OVER_SSH
    },
    Row {
        name: "rsync-connect-prog",
        through: Through::Setting("RSYNC_CONNECT_PROG=\"$CONNECT %H 873\""),
        ..DAEMON
    },
    Row {
        name: "rsync-proxy",
        through: Through::Setting("RSYNC_PROXY=$PROXY"),
        ..DAEMON
    },
];
