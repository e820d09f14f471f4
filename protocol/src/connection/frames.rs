//! What each frame means to a connection: mostly, whom it is for.

use std::time::Instant;

use super::{Connection, event::Event, receive::Origin};
use crate::{
    crypto::handshake::Level,
    error::{ConnectionError, TransportCode, TransportError},
    path::{AckPolicy, Path, SentFrame},
    units::Side,
    wire::{
        frame::{Ack, Close, Frame, Nak},
        id::PathId,
    },
};

impl Connection {
    /// A frame of an Initial or Handshake packet; its type was checked.
    pub(super) fn handle_handshake_frame(
        &mut self,
        now: Instant,
        level: Level,
        frame: Frame,
    ) -> Result<(), TransportError> {
        let Some(space) = self.handshake.spaces.get_mut(level) else {
            return Ok(());
        };
        match frame {
            Frame::Ack(ack) => {
                let progress =
                    space.on_ack(now, &ack.ranges, &mut self.paths[PathId::INITIAL].rtt)?;
                if progress {
                    self.handshake.spaces.on_progress();
                }
            }
            Frame::Crypto(crypto) => space.on_crypto(crypto)?,
            Frame::Close(close) => self.on_close(now, close),
            _ => {}
        }
        Ok(())
    }

    /// A frame of a data packet.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        origin: Origin,
        frame: Frame,
    ) -> Result<(), TransportError> {
        if !self.state.is_open() {
            if let Frame::Close(close) = frame {
                self.on_close(now, close);
            }
            return Ok(());
        }
        match frame {
            Frame::Stream(_)
            | Frame::ResetStream(_)
            | Frame::StopSending(_)
            | Frame::MaxData(_)
            | Frame::MaxStreamData(_)
            | Frame::MaxStreams(_)
            | Frame::DataBlocked(_)
            | Frame::StreamDataBlocked(_)
            | Frame::StreamsBlocked(_) => self.streams.handle(now, frame),
            Frame::Ack(ack) => self.on_ack(now, origin.at, &ack),
            Frame::Nak(nak) => self.on_nak(now, &nak),
            Frame::AckPolicy(policy) => {
                self.path_mut(policy.path)?
                    .recv
                    .set_policy(AckPolicy::from_wire(
                        policy.sequence,
                        policy.packets,
                        policy.delay_us,
                        policy.reorder_us,
                    ));
                Ok(())
            }
            Frame::Datagram(datagram) => {
                //= spec/05-streams.md#datagrams
                //# A receiver MUST close the connection with PROTOCOL_VIOLATION when it receives one that is.
                // The length may be left out of a frame, so only the type is sure to be there.
                if 1 + datagram.data.len() as u64 > self.config.max_datagram() {
                    return Err(TransportError::new(
                        TransportCode::PROTOCOL_VIOLATION,
                        "a datagram larger than the limit announced",
                    ));
                }
                if self.datagrams.on_received(datagram.data) {
                    self.events.push_back(Event::DatagramReceived);
                }
                Ok(())
            }
            Frame::Close(close) => {
                self.on_close(now, close);
                Ok(())
            }
            Frame::NewConnectionId(offer) => {
                self.path_mut(offer.path)?;
                self.ids.on_offer(&offer, &mut self.endpoint_events)
            }
            Frame::RetireConnectionId(retired) => {
                self.path_mut(retired.path)?;
                self.ids
                    .on_retirement(retired.sequence, &mut self.rng, &mut self.endpoint_events)
            }
            Frame::PathChallenge(challenge) => {
                //= spec/07-paths.md#validation
                //# An endpoint MUST answer a PATH_CHALLENGE to the address it came from, with the same bytes.
                self.path_response = Some((challenge.data, origin));
                Ok(())
            }
            Frame::PathResponse(response) => {
                self.on_path_response(now, origin.path, &response);
                Ok(())
            }
            Frame::HandshakeDone => self.on_handshake_done(),
            Frame::Crypto(_) => Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "handshake bytes after the handshake",
            )),
            Frame::TrainReport(report) => self.path_mut(report.path)?.on_train_report(now, &report),
            // What TRAIN says of its packet is noted with the packet.
            Frame::Train(part) => self.path_mut(part.path).map(drop),
            Frame::Padding(_) | Frame::Ping => Ok(()),
        }
    }

    /// The path a frame names.
    fn path_mut(&mut self, id: PathId) -> Result<&mut Path, TransportError> {
        //= spec/07-paths.md#path-ids
        //# An endpoint MUST close the connection with PROTOCOL_VIOLATION when a frame names a path that was never
        //# opened.
        self.paths.get_mut(id).ok_or(TransportError::new(
            TransportCode::PROTOCOL_VIOLATION,
            "a frame names a path never opened",
        ))
    }

    fn on_ack(&mut self, now: Instant, at: Instant, ack: &Ack) -> Result<(), TransportError> {
        let mut feedback = std::mem::take(&mut self.feedback);
        let result = self
            .path_mut(ack.head.path)
            .and_then(|path| path.on_ack(now, at, ack, &mut feedback));
        self.feedback = feedback;
        result?;
        if let Some(keys) = &mut self.keys {
            keys.on_ack(ack.head.path, ack.ranges.largest());
        }
        let path = self.paths.active();
        self.streams.tune(now, path.rtt.smoothed(), path.window());
        Ok(())
    }

    fn on_nak(&mut self, now: Instant, nak: &Nak) -> Result<(), TransportError> {
        let mut feedback = std::mem::take(&mut self.feedback);
        let result = self
            .path_mut(nak.path)
            .and_then(|path| path.on_nak(now, nak, &mut feedback));
        self.feedback = feedback;
        result
    }

    fn on_handshake_done(&mut self) -> Result<(), TransportError> {
        //= spec/02-handshake.md#levels
        //# A server MUST close the connection with PROTOCOL_VIOLATION when it receives HANDSHAKE_DONE.
        if self.side == Side::Server {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "HANDSHAKE_DONE from a client",
            ));
        }
        if !self.handshake.confirmed {
            self.confirm_handshake();
        }
        Ok(())
    }

    fn on_close(&mut self, now: Instant, close: Close) {
        let error = match close {
            Close::Transport { code, reason, .. } => {
                ConnectionError::PeerTransport { code, reason }
            }
            Close::Application { code, reason } => ConnectionError::PeerClosed { code, reason },
        };
        self.start_draining(now, error);
    }

    /// A frame of ours arrived.
    pub(super) fn on_frame_acked(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Stream(sent) => self.streams.on_ack(sent),
            SentFrame::Ack { path, .. } | SentFrame::Nak { path, .. } => {
                if let Some(path) = self.paths.get_mut(path) {
                    path.on_report_acked(frame);
                }
            }
            _ => {}
        }
    }

    /// A frame of ours was lost.
    pub(super) fn on_frame_lost(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Stream(sent) => self.streams.on_loss(sent),
            SentFrame::AckPolicy { path, sequence } => {
                if let Some(path) = self.paths.get_mut(path) {
                    path.on_policy_lost(sequence);
                }
            }
            SentFrame::HandshakeDone => self.announce_done = true,
            SentFrame::NewConnectionId { sequence } => self.ids.on_announcement_lost(sequence),
            SentFrame::RetireConnectionId { sequence } => self.ids.on_retirement_lost(sequence),
            // The next report says more than the lost one did.
            SentFrame::Ack { .. } | SentFrame::Nak { .. } => {}
            SentFrame::MtuProbe { .. } => {}
        }
    }
}
