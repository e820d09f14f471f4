//! What users write into files and on command lines, and what programs of one machine tell each other.

use rp_cli::fuzz as targets;

use crate::mutate::fuzz;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBOhjmEIHpqEgYUuHMCI+2eoEYxsw6MQkq14ZHwezXsz alice@work";

#[test]
fn settings_files() {
    fuzz(
        &[
            "listen = '0.0.0.0:7377'\nallow = ['10.0.0.0/8', 'unix:/run/x']\ndeny = ['10.1.0.0/16:22']\nrate = '500M'\n",
            "server = ['a.example', '[2001:db8::1]:7378']\nhost-key = \"SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n",
            "# nothing\nserver = 'h'\nlocal-forward = ['8080:web.example:80']\nremote-forward = [ '*:53:10.0.0.1:53/udp' ]\n",
            "server = 'h'\noptimistic = '443,8000-8999'\nftp-ports = '21'\npolicy = 'low'\ndrain = 5\n",
            "permit-listen = ['localhost:8000-8999']\nmax-connections = 10\nlog-level = 'debug'\nlog-format = 'json'\n",
            "[allow]\nx = 1\n",
        ],
        targets::settings,
    );
}

#[test]
fn values_that_are_typed() {
    fuzz(
        &[
            "8080:web.example:80",
            "*:53:10.0.0.1:53/udp",
            "[::1]:8080:[2001:db8::1]:80",
            "/run/a.sock:/run/b.sock",
            "127.0.0.1:0:/run/b.sock",
            "localhost:22",
            "[*]:1380",
            ":7377",
            "[fe80::1%eth0]:7377",
            "server.example:7377",
            "SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "6000-6063",
            "25MB/s",
            "1.5Gbit",
            "fastest",
        ],
        targets::values,
    );
}

#[test]
fn locations_of_copies() {
    fuzz(
        &[
            "rp://server.example/dir/file",
            "rp://[2001:db8::1]:7377/a%20b/",
            "rp://[fe80::1%25eth0]/x",
            "host:path/to",
            "alice@host:",
            "./with:colon",
            "-",
        ],
        targets::locations,
    );
}

#[test]
fn lines_of_authorized_keys() {
    fuzz(
        &[
            KEY.to_owned(),
            format!("restrict,permitopen=\"10.0.0.1:443\",permitlisten=\"8080\" {KEY}"),
            format!("from=\"10.0.0.0/8,!10.1.0.0/16,*.example\",expiry-time=\"20301231\" {KEY}"),
            format!("root=\"/srv/a b\",read-only,rate=\"200M\" {KEY}\n# a comment\n\n{KEY}"),
            format!("command=\"echo \\\"x\\\"\",no-pty {KEY}"),
            "ssh-rsa AAAAB3NzaC1yc2E= bob".to_owned(),
        ],
        targets::authorized_keys,
    );
}

#[test]
fn lines_of_known_hosts() {
    fuzz(
        &[
            format!("[server.example]:7377 {KEY}"),
            format!("[*.example]:*,![bad.example]:* {KEY}"),
            format!("@revoked server.example {KEY}"),
            format!("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {KEY}"),
        ],
        targets::known_hosts,
    );
}

#[test]
fn lines_of_control_sockets() {
    fuzz(
        &[
            r#"{"command":"status"}"#,
            r#"{"command":"connect","target":"a.example:22","route":{"servers":[["a:7377",null]],"known-hosts":null,"identity":"/home/a/.ssh/id_ed25519"}}"#,
            r#"{"command":"forward-add","flag":"-L","forward":"8080:web.example:80"}"#,
            r#"{"command":"forward-remove","flag":"-R","listen":"8080"}"#,
            r#"{"command":"forward-list"}"#,
            r#"{"ok":{"a":[1,2.5,"x\ny"]}}"#,
            r#"{"error":"no such\u0000thing"}"#,
        ],
        targets::control_messages,
    );
}
