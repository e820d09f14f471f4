//! Every parser on mutated input: none panics, and each keeps what `rp_proxy::fuzz` says. An ordinary run takes a
//! second; `RP_FUZZ_SECONDS=600 cargo nextest run --workspace --test fuzz` looks longer, from another seed each time.

use std::{
    env,
    panic::{self, RefUnwindSafe},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rp_proxy::fuzz;

/// Inputs of an ordinary run, for each target.
const INPUTS: u32 = 20_000;

/// Longest input.
const MAX_BYTES: usize = 2048;

/// Words that parsers look for.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"|",
    b"[",
    b"]",
    b"%",
    b"@",
    b"/",
    b"//",
    b"?",
    b"#",
    b"-",
    b"*",
    b"0",
    b"1",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"::1",
    b"127.0.0.1",
    b"0x",
    b"\xff",
    b"\x80",
    b"\xc3\xa9",
    b"GET ",
    b"CONNECT ",
    b"http://",
    b"ftp://",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Proxy-Authorization: x\r\n",
    b"Upgrade: websocket\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b";type=a",
    b"%0d%0a",
    b"220 ",
    b"220-",
    b"227 ",
    b"229 ",
    b"234 ",
    b"334 ",
    b"227 (10,0,0,5,4,1)\r\n",
    b"229 (|||6446|)\r\n",
    b"PORT ",
    b"EPRT |2|::1|80|\r\n",
    b"AUTH TLS\r\n",
    b"total 5\n",
    b"drwxr-xr-x 2 a b 4096 Jan  1 12:00 x\n",
    b"01-01-26  12:00PM  <DIR> y\n",
    b"<script>",
    b"localhost",
    b"unix:/run/x",
    b"10.0.0.0/8",
    b"8000-8999",
];

/// A xorshift generator: the same inputs for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a size")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// `input` with some changes.
    fn mutate(&mut self, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut out = input.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(out.len() + 1);
            match self.below(8) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 if at < out.len() => out[at] = self.byte(),
                2 => out.truncate(at),
                3 => {
                    let word = WORDS[self.below(WORDS.len())];
                    out.splice(at..at, word.iter().copied());
                }
                4 if at < out.len() => {
                    let end = at + self.below(out.len() - at) + 1;
                    out.drain(at..end);
                }
                5 => {
                    let piece = out[at..].to_vec();
                    out.extend(piece);
                }
                6 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len() + 1);
                    out.truncate(at);
                    out.extend(&other[from..]);
                }
                _ => out.insert(at, self.byte()),
            }
            out.truncate(MAX_BYTES);
        }
        out
    }
}

/// Feeds `target` with what becomes of `seeds`.
fn fuzz(seeds: &[&[u8]], target: impl Fn(&[u8]) + RefUnwindSafe) {
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let seconds = env::var("RP_FUZZ_SECONDS").ok();
    let end = seconds.map(|seconds| Duration::from_secs(seconds.parse().expect("seconds")));
    let seed = match end {
        None => 1,
        Some(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("after 1970").as_secs() | 1
        }
    };
    let (began, mut random, mut inputs) = (Instant::now(), Random(seed), 0);
    let goes_on = |inputs| match end {
        None => inputs < INPUTS,
        Some(end) => inputs % 1024 != 0 || began.elapsed() < end,
    };
    while goes_on(inputs) {
        inputs = inputs.wrapping_add(1);
        let input = match usize::try_from(inputs) {
            Ok(number) if number <= seeds.len() => seeds[number - 1].to_vec(),
            _ => {
                let from = random.below(pool.len());
                random.mutate(&pool[from], &pool)
            }
        };
        let outcome = panic::catch_unwind(|| target(&input));
        assert!(
            outcome.is_ok(),
            "seed {seed}: failed on {:?}",
            input.escape_ascii().to_string()
        );
        // Some of what was made goes on to be changed, so that inputs wander away from the first ones.
        let at = random.below(4096);
        if (seeds.len()..pool.len()).contains(&at) {
            pool[at] = input;
        } else if pool.len() < 1024 && at < 256 {
            pool.push(input);
        }
    }
}

#[test]
fn messages_of_client_and_exit() {
    fuzz(
        &[
            b"\x01\x01\x7f\0\0\x01\0\x50\0",
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
        fuzz::wire,
    );
}

#[test]
fn what_a_person_types() {
    fuzz(
        &[
            b"10.0.0.0/8:443",
            b"[fd00::/8]:8000-8999",
            b"unix:/run/x.sock",
            b"*:8000-8999",
            b"192.0.2.7:8080",
            b"[2001:db8::1]:*",
            b"www.example.com:443",
            b"::ffff:192.0.2.1",
            b"1-1023,8080",
        ],
        fuzz::text,
    );
}

#[test]
fn socks_clients() {
    fuzz(
        &[
            b"\x04\x01\0\x50\x7f\0\0\x01user\0",
            b"\x04\x02\0\0\0\0\0\x01user\0www.example.com\0",
            b"\x05\x02\0\x02",
            b"\x01\x05alice\x06sesame",
            b"\x05\x01\0\x01\x7f\0\0\x01\0\x50",
            b"\x05\x02\0\x03\x09localhost\0\0",
            b"\x05\x03\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50",
            b"\0\0\0\x01\x7f\0\0\x01\0\x35payload",
        ],
        fuzz::socks,
    );
}

#[test]
fn http_messages() {
    fuzz(
        &[
            b"GET http://a.example/p?q HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic x\r\n\r\n",
            b"POST http://a:8080 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            b"CONNECT a.example:443 HTTP/1.0\r\n\r\n",
            b"a.example:443",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nhello",
            b"HTTP/1.0 404 \nX : folded\n  line\nnonsense\n\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"5;x=\"y\"\r\nhello\r\n0\r\nTrailer: 1\r\n\r\nrest",
        ],
        fuzz::http,
    );
}

#[test]
fn ftp_servers_and_their_urls() {
    fuzz(
        &[
            b"alice:se%3acret@a.example:2121/dir/b%20c;type=a",
            b"[::1]/dir/",
            b"220-Welcome\r\n 220 not yet\r\n220 Ready\r\n",
            b"227 Entering Passive Mode (192,0,2,7,1,2).\r\n",
            b"229 Entering Extended Passive Mode (|||6446|)\r\n",
            b"213 20260101120000.5\r\n",
            b"drwxr-xr-x 2 ftp ftp 4096 Jan  1 12:00 a b -> c\r\n-rw-r--r-- 1 0 0 12 Jan 01 2020 <x>&\"\n",
            b"01-01-26  12:00PM       <DIR>          dir\r\n01-01-26  12:00PM  123 file\r\n",
        ],
        fuzz::ftp_fetch,
    );
}

#[test]
fn ftp_control_connections() {
    fuzz(
        &[
            b"\x06220-Welcome\r\n227 no (1,2,3,4,5,6)\r\n220 Ready\r\n227 Passive (10,0,0,5,4,1).\r\n",
            b"\x80234 go\r\n\x16\x03\x01227 (1,2,3,4,5,6)\r\n",
            b"\x03USER a\r\nPORT 192,168,0,9,200,3\r\nEPRT |2|fd00::9|5282|\r\n\xff\xf4ABOR\r\n",
            b"\x10EPRT !1!132.235.1.2!6275!\nport 1,2,3,4,5,6",
        ],
        fuzz::ftp_follower,
    );
}
