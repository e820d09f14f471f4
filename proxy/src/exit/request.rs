//! A request as it is read from its stream, and the reply.

use bytes::{Bytes, BytesMut};
use rp_protocol::{RecvStream, SendStream};

use crate::{
    error::DialFailure,
    open::{self, Options, Reply, Request},
};

/// A request, or the failure it deserves, what the client says beside it, and what follows.
pub(super) type Head = (Result<Request, DialFailure>, Options, Bytes);

/// What stands for a request that is not served.
pub(super) fn refused(failure: DialFailure) -> Head {
    (Err(failure), Options::default(), Bytes::new())
}

/// The request at the head of a stream. `None` if the stream ended before.
pub(super) async fn read_request(recv: &mut RecvStream) -> Option<Head> {
    let mut head = BytesMut::new();
    loop {
        let piece = recv.read_bytes(open::MAX_REQUEST_BYTES).await.ok()??;
        head.extend_from_slice(&piece);
        match Request::decode_with_options(&head) {
            Ok(None) => {}
            Ok(Some((request, options, len))) => {
                return Some((Ok(request), options, head.split_off(len).freeze()));
            }
            Err(failure) => return Some(refused(failure)),
        }
    }
}

/// Sends the reply; `None` if nobody takes it.
pub(super) async fn answer(send: &mut SendStream, reply: &Reply) -> Option<()> {
    let mut head = Vec::with_capacity(open::MAX_REPLY_BYTES);
    open::encode_reply(reply, &mut head);
    send.write_bytes(head.into()).await.ok()
}
