//! What lies between two halves of a copy: it delivers messages at once, and blocks as a link in memory sees fit.

use std::collections::VecDeque;

use bytes::Bytes;
use rp_transfer::{
    error::Error,
    session::{Half, Input, Output, Summary},
};

/// The data stream of every copy here.
pub(crate) const STREAM: u64 = 2;

/// What lies between two halves: turns each batch of blocks into what arrives.
pub(crate) type Link<'a> = &'a mut dyn FnMut(Vec<(u64, Bytes)>) -> Vec<(u64, Bytes)>;

/// One half and what came of it.
pub(crate) struct Side<'a> {
    half: &'a mut dyn Half,
    sent: u64,
    attached: Option<bool>,
    pub(crate) over: Option<Result<Summary, Error>>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(half: &'a mut dyn Half) -> Self {
        Self {
            half,
            sent: 0,
            attached: None,
            over: None,
        }
    }

    /// Runs it alone, with nobody on the other side.
    pub(crate) fn run_to_the_end(mut self) -> Result<Summary, Error> {
        self.run();
        self.over.expect("the half is over")
    }

    /// Does what the half asks for; what it sends is returned.
    pub(crate) fn run(&mut self) -> VecDeque<Input> {
        let mut out = VecDeque::new();
        loop {
            match self.half.poll() {
                Output::Message(message) => out.push_back(Input::Message(message)),
                Output::Data(bytes) => {
                    let offset = self.sent;
                    self.sent += bytes.len() as u64;
                    out.push_back(Input::Blocks(vec![(offset, bytes)]));
                }
                Output::DataEnd => out.push_back(Input::DataEnd),
                Output::Attach { stream, ordered } => {
                    assert_eq!(stream, STREAM);
                    self.attached = Some(ordered);
                }
                Output::Refuse { stream } => assert_eq!(stream, STREAM),
                Output::Reopen(contents) => {
                    self.sent = 0;
                    out.push_back(Input::Message(contents.name(STREAM)));
                }
                Output::Busy => {}
                Output::Wait => return out,
                Output::Over(result) => {
                    self.over = Some(result);
                    return out;
                }
            }
        }
    }
}

/// Carries everything between sender and receiver until neither has more to say.
pub(crate) fn carry(
    sender: &mut dyn Half,
    receiver: &mut dyn Half,
    link: Link<'_>,
) -> (Result<Summary, Error>, Result<Summary, Error>) {
    let (mut sender, mut receiver) = (Side::new(sender), Side::new(receiver));
    while sender.over.is_none() || receiver.over.is_none() {
        let there = sender.run();
        let mut blocks = Vec::new();
        let mut ended = false;
        let mut messages = Vec::new();
        for input in there {
            match input {
                Input::Blocks(some) => blocks.extend(some),
                Input::DataEnd => ended = true,
                message => messages.push(message),
            }
        }
        // Control messages overtake the data, as on a connection with loss.
        for message in messages {
            receiver.half.handle(message);
        }
        let mut back = receiver.run();
        if receiver.attached.is_some() && receiver.over.is_none() {
            for piece in link(blocks).chunks(7) {
                receiver.half.handle(Input::Blocks(piece.to_vec()));
                back.extend(receiver.run());
            }
            if ended {
                receiver.half.handle(Input::DataEnd);
            }
            back.extend(receiver.run());
        }
        let silent = back.is_empty();
        for input in back {
            sender.half.handle(input);
        }
        if silent && sender.over.is_some() != receiver.over.is_some() {
            sender.half.handle(Input::ControlEnd);
            receiver.half.handle(Input::ControlEnd);
        }
    }
    (sender.over.unwrap(), receiver.over.unwrap())
}

/// Cuts blocks into packets and puts them into an order decided by `seed`.
pub(crate) fn shuffle(
    seed: u64,
    packet: usize,
) -> impl FnMut(Vec<(u64, Bytes)>) -> Vec<(u64, Bytes)> {
    move |blocks| {
        let mut packets = Vec::new();
        for (offset, mut bytes) in blocks {
            let mut offset = offset;
            while !bytes.is_empty() {
                let piece = bytes.split_to(packet.min(bytes.len()));
                packets.push((offset, piece.clone()));
                offset += piece.len() as u64;
            }
        }
        // Most packets keep their place; one in eight comes up to 256 packets later.
        let mut keyed: Vec<_> = packets
            .into_iter()
            .enumerate()
            .map(|(index, packet)| {
                let key = blake3::hash(&[seed, packet.0].map(u64::to_le_bytes).concat());
                let late = match key.as_bytes() {
                    [a, b, ..] if *a < 32 => usize::from(*b),
                    _ => 0,
                };
                (index + late, packet)
            })
            .collect();
        keyed.sort_by_key(|(place, _)| *place);
        keyed.into_iter().map(|(_, packet)| packet).collect()
    }
}
