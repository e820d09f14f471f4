//! BIND of SOCKS: the exit waits for one connection from the host that is named. What a reply looks
//! like is the version's business.

use std::{io, net::SocketAddr};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tracing::debug;

use super::{FrontEndContext, FrontError, Handshake};
use crate::{error::FailureKind, target::Target};

/// The bytes that say an outcome.
pub(super) type Reply = fn(Result<SocketAddr, FailureKind>) -> Vec<u8>;

/// Has the exit wait for a connection from `from` and says where; says who came, and relays it.
pub(super) async fn serve(
    mut handshake: Handshake,
    context: &FrontEndContext,
    from: &Target,
    reply: Reply,
) -> Result<(), FrontError> {
    let pending = match context.client.bind(from).await {
        Ok(pending) => pending,
        Err(error) => {
            debug!(%from, %error, "bind failed");
            handshake.refuse(&reply(Err(error.kind()))).await;
            return Ok(());
        }
    };
    handshake.tcp.write_all(&reply(Ok(pending.bound()))).await?;
    // It may take minutes, longer than a handshake.
    let context = context.clone();
    tokio::spawn(async move {
        let accepted = tokio::select! {
            accepted = pending.accepted() => accepted,
            // Dropped, the exit is told.
            _ = left(&handshake.tcp) => return,
        };
        match accepted {
            Ok((peer, stream)) => {
                if handshake.tcp.write_all(&reply(Ok(peer))).await.is_ok() {
                    let permit = handshake.permit.clone();
                    context.relay(handshake.into_near(), stream, permit);
                }
            }
            Err(error) => handshake.refuse(&reply(Err(error.kind()))).await,
        }
    });
    Ok(())
}

/// Waits until the client leaves. One that sends something does not.
async fn left(tcp: &TcpStream) -> io::Result<()> {
    match tcp.peek(&mut [0]).await? {
        0 => Ok(()),
        _ => std::future::pending().await,
    }
}
