//! Databases: a large answer to a client, and a replica that catches up.

use super::{
    row::{Package, Row, Through},
    servers::{self, MARIADB_PACKAGE},
};

/// Text of lines that no compression makes smaller than three quarters.
const LINES: &str = "base64 -w 100 $FILE >lines; chmod 644 lines";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "psql-copy",
        needs: &[Package {
            name: "postgresql-client",
            file: "/usr/bin/psql",
        }],
        servers: &[servers::POSTGRES],
        site: LINES,
        command: "psql -q -U postgres {via} -c '\\copy lab to out'",
        through: Through::Setting("-h 127.0.0.1 -p 15432"),
        direct: "-h $HOST",
        rpclient: &["-L", "15432:203.0.113.10:5432"],
        // As text, 100 MB.
        bytes: 75_000_000,
        served: "lines",
        ..Row::FETCH
    },
    Row {
        name: "mariadb-replica",
        needs: &[MARIADB_PACKAGE],
        servers: &[servers::MARIADB],
        site: LINES,
        before: r#"
mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
  --user=root --datadir="$PWD/data" >init.log 2>&1
setsid mariadbd --no-defaults --user=root --datadir="$PWD/data" --socket="$PWD/sock" --port=3307 \
  --pid-file="$PWD/pid" --server-id=2 --max-allowed-packet=64M --slave-max-allowed-packet=64M \
  --innodb-flush-log-at-trx-commit=0 --innodb-log-file-size=256M >replica.log 2>&1 </dev/null &
tries=0
until mariadb --no-defaults --socket="$PWD/sock" -e 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 150 ] || { tail -n 3 replica.log >&2; exit 1; }; sleep 0.2
done
"#,
        command: r#"
sql() { mariadb --no-defaults --socket="$PWD/sock" -N -e "$1"; }
sql "CHANGE MASTER TO {via}, master_user='lab', master_password='lab', master_use_gtid=slave_pos, master_connect_retry=1; START SLAVE"
[ "$(sql "SELECT MASTER_GTID_WAIT('$(cat "$SERVED/gtid")', 50)")" = 0 ] || { sql 'SHOW SLAVE STATUS\G' | grep -i error >&2; exit 1; }
sql 'SELECT line FROM lab.lab ORDER BY n' >out
"#,
        through: Through::Setting("master_host='127.0.0.1', master_port=13306"),
        direct: "master_host='$HOST', master_port=3306",
        rpclient: &["-L", "13306:203.0.113.10:3306"],
        served: "lines",
        ..Row::FETCH
    },
];
