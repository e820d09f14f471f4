//! What front ends, client and exit read.

use rp_proxy::fuzz as targets;

use crate::mutate::fuzz;

#[test]
fn messages_of_client_and_exit() {
    fuzz(
        &[
            &b"\x01\x01\x7f\0\0\x01\0\x50\0"[..],
            b"\x01\x03\x09localhost\0\x50\x02\x09\x09",
            b"\x02\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0",
            b"\x01\x02\x06/run/x\0\0\0",
            b"\x03\0",
            b"\x05\x03\x09localhost\0\x35\0",
            b"\0\x01\xc0\0\x02\x09\x9c\x40",
            b"\x05\x06reason",
            b"\x01\0\0\0\0\0\0\0\x08\x01\xc0\0\x02\x07\x9c\x40\0",
            b"\x05\x01\xc0\0\x02\x07\0\x35payload",
            b"\0\x03\x01\xc0\0\x02\x07\0\x35abc",
        ],
        targets::wire,
    );
}

#[test]
fn what_a_person_types() {
    fuzz(
        &[
            &b"10.0.0.0/8:443"[..],
            b"[fd00::/8]:8000-8999",
            b"unix:/run/x.sock",
            b"*:8000-8999",
            b"192.0.2.7:8080",
            b"[2001:db8::1]:*",
            b"www.example.com:443",
            b"::ffff:192.0.2.1",
            b"1-1023,8080",
        ],
        targets::text,
    );
}

#[test]
fn socks_clients() {
    fuzz(
        &[
            &b"\x04\x01\0\x50\x7f\0\0\x01user\0"[..],
            b"\x04\x02\0\0\0\0\0\x01user\0www.example.com\0",
            b"\x05\x02\0\x02",
            b"\x01\x05alice\x06sesame",
            b"\x05\x01\0\x01\x7f\0\0\x01\0\x50",
            b"\x05\x02\0\x03\x09localhost\0\0",
            b"\x05\x03\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50",
            b"\0\0\0\x01\x7f\0\0\x01\0\x35payload",
        ],
        targets::socks,
    );
}

#[test]
fn http_messages() {
    fuzz(
        &[
            &b"GET http://a.example/p?q HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic x\r\n\r\n"[..],
            b"POST http://a:8080 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            b"CONNECT a.example:443 HTTP/1.0\r\n\r\n",
            b"a.example:443",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nhello",
            b"HTTP/1.0 404 \nX : folded\n  line\nnonsense\n\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"5;x=\"y\"\r\nhello\r\n0\r\nTrailer: 1\r\n\r\nrest",
        ],
        targets::http,
    );
}

#[test]
fn ftp_servers_and_their_urls() {
    fuzz(
        &[
            &b"alice:se%3acret@a.example:2121/dir/b%20c;type=a"[..],
            b"[::1]/dir/",
            b"220-Welcome\r\n 220 not yet\r\n220 Ready\r\n",
            b"227 Entering Passive Mode (192,0,2,7,1,2).\r\n",
            b"229 Entering Extended Passive Mode (|||6446|)\r\n",
            b"213 20260101120000.5\r\n",
            b"drwxr-xr-x 2 ftp ftp 4096 Jan  1 12:00 a b -> c\r\n-rw-r--r-- 1 0 0 12 Jan 01 2020 <x>&\"\n",
            b"01-01-26  12:00PM       <DIR>          dir\r\n01-01-26  12:00PM  123 file\r\n",
        ],
        targets::ftp_fetch,
    );
}

#[test]
fn ftp_control_connections() {
    fuzz(
        &[
            &b"\x06220-Welcome\r\n227 no (1,2,3,4,5,6)\r\n220 Ready\r\n227 Passive (10,0,0,5,4,1).\r\n"[..],
            b"\x80234 go\r\n\x16\x03\x01227 (1,2,3,4,5,6)\r\n",
            b"\x03USER a\r\nPORT 192,168,0,9,200,3\r\nEPRT |2|fd00::9|5282|\r\n\xff\xf4ABOR\r\n",
            b"\x10EPRT !1!132.235.1.2!6275!\nport 1,2,3,4,5,6",
        ],
        targets::ftp_follower,
    );
}

#[test]
fn requests_for_the_file_of_browsers() {
    fuzz(
        &[
            &b"GET /proxy.pac HTTP/1.1\r\nHost: proxy.example:1080\r\n\r\n"[..],
            b"HEAD /wpad.dat?1 HTTP/1.0\r\nHost: [2001:db8::1]:80\r\n\r\n",
            b"GET /proxy.pac HTTP/1.1\r\nHost: a\"; evil(); \"\r\n\r\n",
            b"GET /proxy.pac HTTP/1.0\r\n\r\n",
        ],
        targets::pac,
    );
}
