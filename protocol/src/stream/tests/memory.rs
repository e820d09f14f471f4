//! What streams cost when nothing happens on them.

use super::pair::{Pair, read_all};
use crate::{
    stream::{StreamSent, table::Stream},
    units::Dir,
};

#[test]
fn what_a_packet_carried_is_small_to_remember() {
    assert!(size_of::<StreamSent>() <= 24);
}

#[test]
fn a_stream_record_is_well_below_a_kilobyte() {
    assert!(size_of::<Stream>() <= 640, "{}", size_of::<Stream>());
}

#[test]
fn tables_shrink_when_streams_are_over() {
    let mut pair = Pair::new();
    let keep = pair.client.open(Dir::Uni).unwrap();
    pair.client.write(keep, b"x").unwrap();
    for _ in 0..4 {
        let ids: Vec<_> = (0..800)
            .map(|_| pair.client.open(Dir::Uni).unwrap())
            .collect();
        for &id in &ids {
            pair.client.write(id, b"x").unwrap();
            pair.client.finish(id).unwrap();
        }
        pair.settle();
        while let Some(id) = pair.server.accept(Dir::Uni) {
            if id != keep {
                assert!(read_all(&mut pair.server, id).1);
            }
        }
        pair.settle();
    }
    for streams in [&mut pair.client, &mut pair.server] {
        assert!(
            streams.table.capacity() <= 256,
            "{}",
            streams.table.capacity()
        );
    }
}
