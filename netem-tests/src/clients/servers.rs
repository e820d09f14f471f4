//! The servers that rows name: real ones, as Debian packages them, on configurations of ours.

use super::row::{Package, Server};

const NGINX: Package = Package {
    name: "nginx-light",
    file: "/usr/sbin/nginx",
};
const OPENSSL: Package = Package {
    name: "openssl",
    file: "/usr/bin/openssl",
};

/// HTTP/1.1 on port 80, HTTP/2 on 443, files and `git http-backend`.
pub(super) const WEB: Server = Server {
    needs: &[NGINX, OPENSSL],
    prepare: r#"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -days 2 -keyout key.pem -out cert.pem 2>/dev/null
cat >nginx.conf <<END
user root; daemon off; pid nginx.pid; error_log stderr error;
events {}
http {
  access_log off; default_type application/octet-stream;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 80; listen [::]:80; listen 443 ssl http2; listen [::]:443 ssl http2;
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    root $SERVED;
    types { text/html html; }
    location ~ ^/git/ {
      fastcgi_pass 127.0.0.1:9000;
      fastcgi_param SCRIPT_FILENAME $(git --exec-path 2>/dev/null || echo /usr/lib/git-core)/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT $SERVED; fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO \$uri; fastcgi_param QUERY_STRING \$query_string;
      fastcgi_param REQUEST_METHOD \$request_method; fastcgi_param CONTENT_TYPE \$content_type;
      fastcgi_param CONTENT_LENGTH \$content_length; fastcgi_param REMOTE_ADDR \$remote_addr;
      fastcgi_param HTTP_GIT_PROTOCOL \$http_git_protocol;
      fastcgi_buffering off;
    }
  }
}
END
"#,
    run: r#"exec nginx -p "$PWD" -c "$PWD/nginx.conf""#,
    port: 80,
};

/// What runs `git http-backend` for [`WEB`].
pub(super) const CGI: Server = Server {
    needs: &[Package {
        name: "fcgiwrap",
        file: "/usr/sbin/fcgiwrap",
    }],
    run: "exec fcgiwrap -s tcp:127.0.0.1:9000",
    port: 9000,
    ..Server::PLAIN
};

/// Anonymous FTP, by TLS for those who ask, over IPv4 and IPv6.
pub(super) const FTP: Server = Server {
    needs: &[
        Package {
            name: "vsftpd",
            file: "/usr/sbin/vsftpd",
        },
        OPENSSL,
    ],
    prepare: r#"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -days 2 -keyout key.pem -out cert.pem 2>/dev/null
mkdir -p empty
cat >vsftpd.conf <<END
background=NO
listen=NO
listen_ipv6=YES
anonymous_enable=YES
local_enable=NO
anon_root=$SERVED
secure_chroot_dir=$PWD/empty
connect_from_port_20=YES
ssl_enable=YES
allow_anon_ssl=YES
force_local_data_ssl=NO
force_local_logins_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
rsa_cert_file=$PWD/cert.pem
rsa_private_key_file=$PWD/key.pem
seccomp_sandbox=NO
END
"#,
    run: r#"exec vsftpd "$PWD/vsftpd.conf""#,
    port: 21,
};

/// OpenSSH's, for one key.
pub(super) const SSH: Server = Server {
    needs: &[Package {
        name: "openssh-server",
        file: "/usr/sbin/sshd",
    }],
    prepare: r#"
mkdir -p -m 0755 /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f "$SERVED/client_key"
cp "$SERVED/client_key.pub" authorized_keys
cat >sshd_config <<END
HostKey $PWD/host_key
AuthorizedKeysFile $PWD/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
END
"#,
    run: r#"exec /usr/sbin/sshd -D -e -f "$PWD/sshd_config""#,
    port: 22,
};

/// rsync's own daemon, with the module `lab`.
pub(super) const RSYNC: Server = Server {
    needs: &[Package {
        name: "rsync",
        file: "/usr/bin/rsync",
    }],
    prepare: r#"
cat >rsyncd.conf <<END
use chroot = no
uid = 0
gid = 0
[lab]
path = $SERVED
END
"#,
    run: r#"exec rsync --daemon --no-detach --config="$PWD/rsyncd.conf""#,
    port: 873,
};

/// A container registry with the image `lab:1`, one layer of which is `$SERVED/layer`.
pub(super) const REGISTRY: Server = Server {
    needs: &[
        Package {
            name: "docker-registry",
            file: "/usr/bin/docker-registry",
        },
        SKOPEO,
    ],
    prepare: r#"
cat >config.yml <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $PWD/store}}
http: {addr: ":5000"}
END
digest() { sha256sum "$1" | cut -c 1-64; }
diff=$(gunzip <"$SERVED/layer" | sha256sum | cut -c 1-64)
mkdir image
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$diff" >config.json
cp config.json "image/$(digest config.json)"
cp "$SERVED/layer" "image/$(digest "$SERVED/layer")"
docker=application/vnd.docker
printf '{"schemaVersion":2,"mediaType":"%s.distribution.manifest.v2+json","config":{"mediaType":"%s.container.image.v1+json","size":%s,"digest":"sha256:%s"},"layers":[{"mediaType":"%s.image.rootfs.diff.tar.gzip","size":%s,"digest":"sha256:%s"}]}' \
  $docker $docker "$(stat -c %s config.json)" "$(digest config.json)" \
  $docker "$(stat -c %s "$SERVED/layer")" "$(digest "$SERVED/layer")" >image/manifest.json
printf 'Directory Transport Version: 1.1\n' >image/version
sed 's/":5000"/"127.0.0.1:5001"/' config.yml >load.yml
docker-registry serve load.yml & registry=$!
tries=0
until skopeo copy -q --insecure-policy --dest-tls-verify=false dir:image docker://127.0.0.1:5001/lab:1 2>push.log; do
  tries=$((tries + 1)); [ $tries -lt 50 ] || { cat push.log >&2; exit 1; }; sleep 0.2
done
kill $registry; wait $registry || true
"#,
    run: "exec docker-registry serve config.yml",
    port: 5000,
};

pub(super) const SKOPEO: Package = Package {
    name: "skopeo",
    file: "/usr/bin/skopeo",
};

/// PostgreSQL with the table `lab`, the lines of `$SERVED/lines`.
pub(super) const POSTGRES: Server = Server {
    needs: &[Package {
        name: "postgresql",
        file: "/usr/share/doc/postgresql/copyright",
    }],
    prepare: r#"
chown postgres .
# Before PATH: a program of the same name may be there.
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
as "$bin/initdb" -D data -A trust -E SQL_ASCII --locale C -N >init.log
cat >>data/postgresql.conf <<END
listen_addresses = '*'
unix_socket_directories = '$PWD'
fsync = off
# In its folder, so that nothing of it is left when it is killed.
dynamic_shared_memory_type = mmap
max_wal_size = 4GB
END
echo 'host all all all trust' >>data/pg_hba.conf
as "$bin/pg_ctl" -D data -l load.log -w -o '-c listen_addresses=' start >/dev/null
as "$bin/psql" -q -h "$PWD" -v ON_ERROR_STOP=1 -c 'CREATE TABLE lab (line text)' \
  -c "\copy lab from '$SERVED/lines'"
as "$bin/pg_ctl" -D data -w stop >/dev/null
"#,
    run: r#"exec setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D data"#,
    port: 5432,
};

/// A MariaDB primary, whose binary log has the table `lab.lab`, the lines of `$SERVED/lines`; `$SERVED/gtid` is
/// its last transaction.
pub(super) const MARIADB: Server = Server {
    needs: &[MARIADB_PACKAGE],
    prepare: r#"
mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
  --user=root --datadir="$PWD/data" >init.log 2>&1
primary() {
  exec mariadbd --no-defaults --user=root --datadir="$PWD/data" --socket="$PWD/sock" --port=3306 --bind-address='*' \
    --pid-file="$PWD/pid" --server-id=1 --log-bin=log --binlog-format=row --max-allowed-packet=64M \
    --local-infile=1 --innodb-flush-log-at-trx-commit=0 --sync-binlog=0 --innodb-log-file-size=256M "$@"
}
(primary --skip-networking) >load.log 2>&1 &
sql() { mariadb --no-defaults --socket="$PWD/sock" --local-infile=1 -N "$@"; }
tries=0
until sql -e 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 150 ] || { tail -n 3 load.log >&2; exit 1; }; sleep 0.2
done
sql -e "CREATE USER lab IDENTIFIED BY 'lab'; GRANT REPLICATION SLAVE ON *.* TO lab;
  CREATE DATABASE lab; CREATE TABLE lab.lab (n INT AUTO_INCREMENT PRIMARY KEY, line TEXT);
  LOAD DATA LOCAL INFILE '$SERVED/lines' INTO TABLE lab.lab (line);"
sql -e 'SELECT @@gtid_binlog_pos' >"$SERVED/gtid"
mariadb-admin --no-defaults --socket="$PWD/sock" shutdown
wait
"#,
    run: "primary",
    port: 3306,
};

pub(super) const MARIADB_PACKAGE: Package = Package {
    name: "mariadb-server",
    file: "/usr/sbin/mariadbd",
};

/// dnsmasq with the names in `$SERVED/dns.conf`.
pub(super) const DNS: Server = Server {
    needs: &[Package {
        name: "dnsmasq-base",
        file: "/usr/sbin/dnsmasq",
    }],
    run: "exec dnsmasq --keep-in-foreground --conf-file=\"$SERVED/dns.conf\" --user=root --pid-file=\"$PWD/pid\"",
    port: 53,
    ..Server::PLAIN
};

/// Sends `$SERVED/$FILE` to whoever comes: as one message, or to `/parts` as many.
pub(super) const WEBSOCKET: Server = Server {
    needs: &[Package {
        name: "python3-websockets",
        file: "/usr/lib/python3/dist-packages/websockets/__init__.py",
    }],
    run: r#"
exec /usr/bin/python3 -c '
import asyncio, os, websockets
file = open(os.environ["SERVED"] + "/" + os.environ["FILE"], "rb").read()
async def serve(socket):
    part = 1 << 18 if socket.path == "/parts" else len(file)
    for at in range(0, len(file), part):
        await socket.send(file[at : at + part])
async def main():
    async with websockets.serve(serve, None, 8080, compression=None):
        await asyncio.Future()
asyncio.run(main())
'"#,
    port: 8080,
    ..Server::PLAIN
};
