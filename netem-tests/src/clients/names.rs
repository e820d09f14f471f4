//! Names asked for by UDP, through SOCKS5's UDP ASSOCIATE.

use super::{
    row::{Package, Row, Through},
    servers,
};

pub(super) const ROWS: &[Row] = &[Row {
    name: "dns-over-socks5-udp",
    needs: &[
        Package {
            name: "python3-socks",
            file: "/usr/lib/python3/dist-packages/socks.py",
        },
        Package {
            name: "python3-dnspython",
            file: "/usr/lib/python3/dist-packages/dns/__init__.py",
        },
    ],
    servers: &[servers::DNS],
    site: r#"
{ echo no-resolv; echo no-hosts
  base64 -w 200 $FILE | head -n 50 | nl -v 1 -w 1 -s ' ' | while read -r n text; do
    echo "txt-record=n$n.lab,\"$text\""; echo "$text" >&3
  done 3>answers; } >dns.conf
"#,
    // One question after another; what is lost is asked for again, as any resolver does.
    command: r#"{via} /usr/bin/python3 -c '
import os, socket, socks, dns.exception, dns.message, dns.query
host, proxy = os.environ["HOST"], os.environ.get("via")
udp = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
if proxy:
    address, port = proxy.split(":")
    udp.set_proxy(socks.SOCKS5, address, int(port))
    udp.bind(("", 0))
with open("out", "w") as out:
    for n in range(1, 51):
        for again in range(4):
            try:
                query = dns.message.make_query(f"n{n}.lab", "TXT")
                udp.settimeout(2)
                udp.sendto(query.to_wire(), (host, 53))
                answer = dns.message.from_wire(udp.recv(4096))
                if answer.id == query.id:
                    break
            except socket.timeout:
                pass
        out.write(answer.answer[0][0].strings[0].decode() + "\n")
'"#,
    through: Through::Setting("via=$PROXY"),
    bytes: 1_000_000,
    plain_bytes: 1_000_000,
    served: "answers",
    ..Row::FETCH
}];
