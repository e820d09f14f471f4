//! An association that is opened again by the next datagram when it has ended: because it was idle, or because the
//! connection to the server was lost. Which sockets it serves is the front ends' business.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::association::{Association, AssociationEnd};
use crate::{client::Client, error::OpenError, target::Target};

/// Times an association is asked for when the connection to the server fails under the question.
const MAX_ASKED: usize = 3;

/// A use of associations, one after the other. Dropping it ends the last one.
#[derive(Debug)]
pub struct LastingAssociation {
    client: Client,
    current: watch::Sender<Option<Arc<Association>>>,
}

impl LastingAssociation {
    /// One whose first association is opened by the first datagram.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            current: watch::Sender::new(None),
        }
    }

    /// Opens an association and waits until the exit has said that it is one; asks again where the connection
    /// is lost meanwhile.
    ///
    /// # Errors
    /// It was refused, or there is no connection.
    pub async fn opened(&self) -> Result<(), AssociationEnd> {
        for _ in 1..MAX_ASKED {
            match self.current().await?.opened().await {
                Err(AssociationEnd::Failed(OpenError::ConnectionLost(_))) => {}
                outcome => return outcome,
            }
        }
        self.current().await?.opened().await
    }

    /// Sends `payload` to `target`, over a new association where the last one has ended. For one caller at a
    /// time. May be given up at any time.
    ///
    /// # Errors
    /// There is no connection at the moment, or the exit refuses associations. Another datagram may do better.
    pub async fn send(&self, target: &Target, payload: Bytes) -> Result<(), AssociationEnd> {
        let association = self.current().await?;
        if association.send(target, payload.clone()).await.is_ok() {
            return Ok(());
        }
        self.current().await?.send(target, payload).await
    }

    /// The next datagram that arrived, and its sender. Waits for another association when one has ended.
    ///
    /// # Errors
    /// The exit has refused the last one. Datagrams that are sent may do better.
    pub async fn recv(&self) -> Result<(SocketAddr, Bytes), AssociationEnd> {
        let mut current = self.current.subscribe();
        loop {
            let association = current.borrow_and_update().clone();
            if let Some(association) = association {
                tokio::select! {
                    received = association.recv() => match received {
                        Err(end) if !is_refusal(&end) => {}
                        received => return received,
                    },
                    // What the one before still had is lost with it.
                    _ = current.changed() => {
                        current.mark_changed();
                    }
                }
            }
            if current.changed().await.is_err() {
                return Err(AssociationEnd::Closed);
            }
        }
    }

    async fn current(&self) -> Result<Arc<Association>, AssociationEnd> {
        let known = self.current.borrow().clone();
        if let Some(known) = known.filter(|known| !known.has_ended()) {
            return Ok(known);
        }
        let opened = Arc::new(self.client.associate().await?);
        self.current.send_replace(Some(opened.clone()));
        Ok(opened)
    }
}

/// Whether the exit has said no, and would again.
pub(crate) fn is_refusal(end: &AssociationEnd) -> bool {
    matches!(end, AssociationEnd::Failed(OpenError::Dial(_)))
}
