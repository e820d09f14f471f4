//! Download programs and HTTP libraries, and what makes any program use a proxy.

use super::{
    curl::CURL,
    row::{Package, Row, Through},
    servers,
};

const PYTHON: Package = Package {
    name: "python3",
    file: "/usr/bin/python3",
};

const WEB: Row = Row {
    servers: &[servers::WEB],
    ..Row::FETCH
};

/// Asks the proxy by node's own `http`, which has no setting for one.
const NODE: &str = r#"{via} node -e '
const { http_proxy, HOST, FILE } = process.env;
const url = new URL(`http://${HOST}/${FILE}`);
const proxy = http_proxy && new URL(http_proxy);
const options = proxy
  ? { host: proxy.hostname, port: proxy.port, path: url.href, headers: { host: url.host } }
  : url;
require("http").get(options, (answer) => {
  if (answer.statusCode !== 200) { console.error(answer.statusCode); process.exit(1); }
  answer.pipe(require("fs").createWriteStream("out"));
}).on("error", (error) => { console.error(error.message); process.exit(1); });
'"#;

const REQUESTS: &str = r#"{via} /usr/bin/python3 -c '
import os, requests
url = "http://" + os.environ["HOST"] + "/" + os.environ["FILE"]
with requests.get(url, stream=True) as answer, open("out", "wb") as out:
    answer.raise_for_status()
    for part in answer.iter_content(1 << 16):
        out.write(part)
'"#;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "wget",
        needs: &[Package {
            name: "wget",
            file: "/usr/bin/wget",
        }],
        command: "{via} wget -q --tries=1 -O out http://$HOST/$FILE",
        through: Through::Setting("http_proxy=http://$PROXY"),
        ..WEB
    },
    Row {
        name: "aria2",
        needs: &[Package {
            name: "aria2",
            file: "/usr/bin/aria2c",
        }],
        command: "aria2c --no-conf -q --file-allocation=none {via} -o out http://$HOST/$FILE",
        through: Through::Setting("--all-proxy=http://$PROXY"),
        ..WEB
    },
    Row {
        name: "python-requests-http",
        needs: &[
            PYTHON,
            Package {
                name: "python3-requests",
                file: "/usr/lib/python3/dist-packages/requests/__init__.py",
            },
        ],
        command: REQUESTS,
        through: Through::Setting("http_proxy=http://$PROXY"),
        ..WEB
    },
    Row {
        name: "node",
        needs: &[Package {
            name: "nodejs",
            file: "/usr/bin/node",
        }],
        command: NODE,
        through: Through::Setting("http_proxy=http://$PROXY"),
        ..WEB
    },
    Row {
        name: "python-requests-socks5h",
        needs: &[
            PYTHON,
            Package {
                name: "python3-requests",
                file: "/usr/lib/python3/dist-packages/requests/__init__.py",
            },
            Package {
                name: "python3-socks",
                file: "/usr/lib/python3/dist-packages/socks.py",
            },
        ],
        command: REQUESTS,
        through: Through::Setting("http_proxy=socks5h://$PROXY"),
        ..WEB
    },
    Row {
        name: "redsocks-curl",
        needs: &[
            CURL,
            Package {
                name: "redsocks",
                file: "/usr/sbin/redsocks",
            },
            Package {
                name: "nftables",
                file: "/usr/sbin/nft",
            },
        ],
        before: r#"
cat >redsocks.conf <<END
base { log = "file:$PWD/redsocks.log"; daemon = on; redirector = iptables; }
redsocks { local_ip = 127.0.0.1; local_port = 12345; ip = $PROXY_HOST; port = $PROXY_PORT; type = socks5; }
END
redsocks -c redsocks.conf >/dev/null 2>&1
nft add table ip lab
nft 'add chain ip lab output { type nat hook output priority -100; }'
nft "add rule ip lab output ip daddr $HOST tcp dport 80 redirect to :12345"
"#,
        command: "curl -qsSf -o out http://$HOST/$FILE",
        through: Through::Helper("redsocks beside it, by SOCKS5"),
        ..WEB
    },
    Row {
        name: "proxychains-curl",
        needs: &[
            CURL,
            Package {
                name: "proxychains4",
                file: "/usr/bin/proxychains4",
            },
        ],
        before: "printf 'quiet_mode\\n[ProxyList]\\nsocks5 %s %s\\n' $PROXY_HOST $PROXY_PORT >chains.conf",
        command: "{via} curl -qsSf -o out http://$HOST/$FILE",
        through: Through::Setting("proxychains4 -q -f chains.conf"),
        ..WEB
    },
];
