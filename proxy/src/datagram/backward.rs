//! A UDP port of the exit whose datagrams go to one target here: `-R PORT:HOST:PORT/udp`. Each sender that comes to
//! the exit has a socket of its own here, as a NAT would give it a port.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UdpSocket, lookup_host},
    sync::watch,
    time::sleep,
};
use tracing::{debug, info, trace, warn};

use super::{
    association::{Association, AssociationEnd},
    flows::{Activity, DEFAULT_FLOW_IDLE, Flows},
    queue::Queue,
    socket,
};
use crate::{
    client::{Client, forward::RemoteState},
    error::OpenError,
    open::Request,
    target::{Host, Target},
};

/// Senders of one forward at once; each takes a socket.
const MAX_SENDERS: usize = 1024;

/// First pause before a listener that was refused is asked for again, and the longest, as for connections.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(15);

impl Client {
    /// Has the exit listen for datagrams at `host` and `port`, again after each loss, and takes what comes there to
    /// `target`, seen from here. Says in `state` how it is. Ends only if dropped.
    pub async fn forward_datagrams_back(
        &self,
        (host, port): (Host, u16),
        target: &Target,
        state: &watch::Sender<RemoteState>,
    ) {
        let request = Request::ListenDatagrams(host.clone(), port);
        let mut failed = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = async {
                let association = self.associate_by(&request, failed).await?;
                let bound = association.bound().await.map_err(into_open_error)?;
                Ok::<_, OpenError>((association, bound))
            };
            match asked.await {
                Ok((association, bound)) => {
                    pause = FIRST_PAUSE;
                    failed = Some(association.generation());
                    info!(%host, port, %bound, %target, "the server listens for datagrams for us");
                    state.send_replace(RemoteState::Listening(bound));
                    //= spec/10-proxy.md#listening
                    //# A client whose connection is lost SHOULD ask for its listeners again over the
                    //# next one.
                    self.take_datagrams(Arc::new(association), target).await;
                    warn!(%host, port, "the server does not listen for datagrams any more, asking again");
                    state.send_replace(RemoteState::Asking);
                }
                Err(error) => {
                    let why = error.to_string();
                    if *state.borrow() != RemoteState::Refused(why.clone()) {
                        warn!(%host, port, error = why, "the server does not listen for datagrams, asking again");
                    }
                    state.send_replace(RemoteState::Refused(why));
                    failed = None;
                    let _guard = self.link().acquire();
                    sleep(pause).await;
                    pause = MAX_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Takes what `association` brings to `target`, and the answers back, until it has ended.
    async fn take_datagrams(&self, association: Arc<Association>, target: &Target) {
        let flows = {
            let (association, target) = (association.clone(), target.clone());
            let counters = self.shared_counters();
            Flows::carried(counters, MAX_SENDERS, move |sender, queue, activity| {
                let (association, target) = (association.clone(), target.clone());
                async move {
                    let end = tokio::select! {
                        end = exchange(sender, &queue, &activity, (&association, &target)) => end,
                        () = activity.idle(DEFAULT_FLOW_IDLE) => Ok(()),
                    };
                    if let Err(error) = end {
                        info!(%sender, %target, %error, "datagrams not forwarded");
                    }
                }
            })
        };
        loop {
            tokio::select! {
                received = association.recv() => match received {
                    Ok((sender, payload)) => flows.send(sender, target.clone(), payload),
                    Err(end) => return debug!(%end, "the listener for datagrams has ended"),
                },
                () = association.replaced() => return,
            }
        }
    }
}

/// Carries the datagrams of one sender to `target` and the answers back, until the association has ended.
async fn exchange(
    sender: SocketAddr,
    queue: &Queue,
    activity: &Activity,
    (association, target): (&Association, &Target),
) -> io::Result<()> {
    let Ok(to_sender) = Target::try_from(sender) else {
        return Ok(());
    };
    let socket = connected(target).await?;
    let outward = async {
        while let Some(datagram) = queue.pop().await {
            // As for an answer by ICMP: it is about one datagram.
            if let Err(error) = socket.send(&datagram.payload).await {
                trace!(%target, %error, "datagram not sent");
            }
        }
    };
    let inward = async {
        loop {
            let Ok((payload, _target)) = socket::receive(&socket).await else {
                continue;
            };
            activity.note_answer();
            if association.send(&to_sender, payload).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
    Ok(())
}

/// A socket that exchanges datagrams with `target` and nobody else.
async fn connected(target: &Target) -> io::Result<UdpSocket> {
    let addrs: Vec<SocketAddr> = match target.host() {
        Host::Ip(ip) => vec![(*ip, target.port()).into()],
        Host::Name(name) => lookup_host((name.as_str(), target.port())).await?.collect(),
    };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for addr in addrs {
        let any: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = socket::open(any)?;
        match socket.connect(addr).await {
            Ok(()) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn into_open_error(end: AssociationEnd) -> OpenError {
    match end {
        AssociationEnd::Failed(error) => error,
        AssociationEnd::Idle | AssociationEnd::Closed => OpenError::BadReply,
    }
}
