//! Input made of seeds by chance, and the targets fed with it. What is fuzzed is told in the files beside.

#![expect(
    clippy::print_stdout,
    reason = "how many inputs there were belongs into a test's output"
)]

use std::{
    env,
    panic::{self, RefUnwindSafe},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Inputs of an ordinary run, for each target.
const INPUTS: u64 = 20_000;

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
    b"\"",
    b"\\",
    b"=",
    b"'",
    b"{}",
    b"{\"command\":\"status\"}",
    b"restrict,",
    b"permitopen=\"",
    b"ssh-ed25519 ",
    b"/udp",
    b"\0\0\0\x02",
    b"\xff\xff\xff\xff",
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
pub(crate) fn fuzz<S: AsRef<[u8]>>(seeds: &[S], target: impl Fn(&[u8]) + RefUnwindSafe) {
    let mut pool: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_ref().to_vec()).collect();
    let seconds = env::var("RP_FUZZ_SECONDS").ok();
    let end = seconds.map(|seconds| Duration::from_secs(seconds.parse().expect("seconds")));
    let seed = match end {
        None => 1,
        Some(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("after 1970").as_secs() | 1
        }
    };
    let (began, mut random, mut inputs) = (Instant::now(), Random(seed), 0_u64);
    let goes_on = |inputs| match end {
        None => inputs < INPUTS,
        Some(end) => inputs % 1024 != 0 || began.elapsed() < end,
    };
    while goes_on(inputs) {
        inputs += 1;
        let input = match usize::try_from(inputs) {
            Ok(number) if number <= seeds.len() => seeds[number - 1].as_ref().to_vec(),
            _ => {
                // Far from the seeds little is understood, so every other input is made of one.
                let near = [pool.len(), seeds.len()][random.below(2)];
                let from = random.below(near);
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
    println!(
        "{inputs} inputs from seed {seed} in {:.1?}",
        began.elapsed()
    );
}
