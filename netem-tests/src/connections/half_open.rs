//! Clients of a front end that never say what they want, and an honest one beside them.

use std::{thread::sleep, time::Instant};

use anyhow::ensure;

use super::{Crowd, IDLE_BYTES, LEFT_MB, Options, SETTLE, fallen, megabytes_above, room};
use crate::{
    adversary::{
        stage::{Stage, origin},
        unread::get,
    },
    programs::Programs,
    threshold::Row,
};

/// All that they say: nothing, a byte of SOCKS5, a byte of HTTP.
const GREETINGS: [&[u8]; 3] = [b"", &[5], b"G"];

/// What an honest request may take.
const LIMIT_S: f64 = 1.0;

pub(super) fn run(
    programs: &Programs,
    options: &Options,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Row>> {
    let count = options.connections.min(room()?);
    let mut stage = Stage::new(programs, 0)?;
    let proxy = stage.proxy()?;
    let target = origin(false)?;
    get(proxy, target)?;
    let mut crowd = Crowd::new()?;
    sleep(SETTLE);
    let before = super::Sides::now(&stage)?;
    let mut lost = 0;
    for (greeting, share) in GREETINGS
        .iter()
        .zip([count / 3, count / 3, count - count / 3 * 2])
    {
        lost += crowd.begin(proxy, greeting, share);
    }
    ensure!(lost == 0, "clients are not even accepted");
    note(&format!("{count} clients are half open"));
    let began = Instant::now();
    get(proxy, target)?;
    let took = began.elapsed();
    let full = super::Sides::now(&stage)?;
    crowd.leave();
    let after = fallen(&stage, &before)?;
    let (client, held) = (before.clients[0], full.clients[0]);
    let each = held.rss_bytes.saturating_sub(client.rss_bytes) as f64 / count as f64;
    let name = format!("a GET beside {count} clients that never say what they want");
    Ok(vec![
        Row::below(&name, took.as_secs_f64(), LIMIT_S, "s"),
        Row::at_most("  rpclient: memory of each", each, IDLE_BYTES, "bytes"),
        Row::at_most(
            "  rpclient: memory above the start once they are gone",
            megabytes_above(after.clients[0], client),
            LEFT_MB,
            "MB",
        ),
        Row::at_most(
            "  rpclient: descriptors above the start",
            after.clients[0]
                .descriptors
                .saturating_sub(client.descriptors) as f64,
            0.0,
            "",
        ),
    ])
}
