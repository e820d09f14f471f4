//! The one connection to the server that everything shares, and how it is replaced when it is lost or
//! falls silent. What runs over its streams is `client`'s business.
//!
//! 1. While the connection is up, everybody gets it.
//! 2. When its probes go unanswered, a second connection is made beside it. Whoever wants a stream
//!    meanwhile waits for the one that answers first.
//! 3. When it is lost, attempts go on with growing pauses; a request cuts a pause short.
//! 4. A better one may be given in its place; what runs over it goes on where it is, to its end.

mod attempts;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rp_protocol::{Connection, error::ConnectionError};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use self::attempts::reconnect;
use crate::{error::OpenError, relay::code};

/// How long a client that wants a stream waits for a connection.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Probe timeouts in a row after which the server may be gone: two lost packets are no sign of it.
const SILENT_PROBES: u32 = 3;

/// Least silence after which a second connection is worth its packets. A busy machine on a short path
/// misses three probes within a moment.
const MIN_SILENCE: Duration = Duration::from_millis(500);

/// How long a replaced connection may stay silent: at least one more of its probes goes out, as they are
/// less than 2 s apart (spec/03-reliability.md#probes), and its answer has a second to come.
const LAST_CHANCE: Duration = Duration::from_secs(3);

/// Time between two looks whether a connection with a better one in its place is still used, and how long it is kept
/// behind its last use.
const RETIRE_LOOK: Duration = Duration::from_secs(1);
const RETIRE_LINGER: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum State {
    /// The connection, how many there were before it, and what those hold who use it.
    Up(Connection, u64, Hold),
    /// Lost, silent or not yet made; attempts go on.
    Down(String),
    /// Given up by silence while nothing used it; the next use brings it back.
    Asleep,
}

/// What whoever uses a connection holds: as long as somebody does, one that was replaced is kept.
type Hold = Arc<()>;

/// A handle to the connection; clones share it. Dropping the last one ends the attempts.
#[derive(Clone)]
pub struct Link {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
}

struct Shared {
    demand: Arc<Demand>,
    better: mpsc::Sender<Connection>,
    supervisor: JoinHandle<()>,
}

#[derive(Default)]
struct Demand {
    wanted: Notify,
    users: AtomicUsize,
    /// Where the latest connection led.
    server: RwLock<Option<SocketAddr>>,
}

impl Demand {
    fn remember(&self, server: SocketAddr) {
        let known = self.server.write();
        *known.unwrap_or_else(PoisonError::into_inner) = Some(server);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&*self.state.borrow()).finish()
    }
}

/// Counts one user of the link for as long as it lives: a link with users is brought back at once.
#[derive(Debug)]
pub struct LinkGuard {
    demand: Arc<Demand>,
    /// Of the connection that is used, once there is one.
    hold: Option<Hold>,
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.users.load(Ordering::Relaxed))
    }
}

impl Drop for LinkGuard {
    fn drop(&mut self) {
        self.demand.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clone for LinkGuard {
    fn clone(&self) -> Self {
        self.demand.users.fetch_add(1, Ordering::Relaxed);
        Self {
            demand: self.demand.clone(),
            hold: self.hold.clone(),
        }
    }
}

/// What a link has at one moment.
#[derive(Clone, Debug)]
pub enum LinkStatus {
    /// A connection in use.
    Up(Connection),
    /// None, for this reason; attempts go on.
    Down(String),
    /// None, and nobody wants one: the last one fell silent while it was idle.
    Asleep,
}

/// Which of a link's connections something was asked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation(u64);

impl Link {
    /// A link that starts with `connection` and calls `connect` whenever it is lost or silent. Must be
    /// called inside a tokio runtime.
    pub fn new<C, F, E>(connection: Connection, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Connection, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        Self::start(Some(connection), connect)
    }

    /// A link without a connection yet: the first is made by `connect`, too, however long its server
    /// takes to come. Must be called inside a tokio runtime.
    ///
    /// ```
    /// use rp_protocol::{Endpoint, config::ClientConfig};
    /// use rp_proxy::Link;
    ///
    /// /// A link to the server at `remote`, made again whenever it is lost.
    /// fn link(endpoint: Endpoint, remote: std::net::SocketAddr, config: ClientConfig) -> Link {
    ///     Link::connecting(move || {
    ///         let (endpoint, config) = (endpoint.clone(), config.clone());
    ///         async move { endpoint.connect(remote, config).await }
    ///     })
    /// }
    /// ```
    pub fn connecting<C, F, E>(connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Connection, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        Self::start(None, connect)
    }

    fn start<C, F, E>(connection: Option<Connection>, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Connection, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let (state, receiver) = watch::channel(State::Down("connecting".into()));
        let demand = Arc::<Demand>::default();
        let (better, offers) = mpsc::channel(1);
        let supervisor = Supervisor {
            connect,
            state,
            demand: demand.clone(),
            made: 0,
        };
        let supervisor = tokio::spawn(supervisor.run(connection, offers));
        let shared = Arc::new(Shared {
            demand,
            better,
            supervisor,
        });
        Self {
            state: receiver,
            shared,
        }
    }

    /// Registers a user until the returned value is dropped.
    pub fn acquire(&self) -> LinkGuard {
        self.shared.demand.users.fetch_add(1, Ordering::Relaxed);
        LinkGuard {
            demand: self.shared.demand.clone(),
            hold: None,
        }
    }

    /// Takes `connection` in the place of the one there is, from the next request on. What runs over that one goes
    /// on, and it is closed a moment after its last use.
    pub fn use_instead(&self, connection: Connection) {
        // While one waits to be taken, another is not needed.
        let _ = self.shared.better.try_send(connection);
    }

    /// What it has at this moment.
    pub fn status(&self) -> LinkStatus {
        match &*self.state.borrow() {
            State::Up(connection, ..) => LinkStatus::Up(connection.clone()),
            State::Down(why) => LinkStatus::Down(why.clone()),
            State::Asleep => LinkStatus::Asleep,
        }
    }

    /// How many use it at this moment.
    pub fn users(&self) -> usize {
        self.shared.demand.users.load(Ordering::Relaxed)
    }

    /// The address of the server as of the latest connection; `None` before the first.
    pub fn server_address(&self) -> Option<SocketAddr> {
        let server = self.shared.demand.server.read();
        *server.unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection; where there is none at the moment, waits a while for the next attempts.
    pub async fn connection(&self) -> Result<Connection, OpenError> {
        let (connection, _) = self.current(None).await?;
        Ok(connection)
    }

    /// As [`connection`](Self::connection), with what tells it from later ones; one made after `failed`
    /// if that is given.
    pub(crate) async fn current(
        &self,
        failed: Option<Generation>,
    ) -> Result<(Connection, Generation), OpenError> {
        let (connection, generation, _) = self.look(failed).await?;
        Ok((connection, generation))
    }

    /// The same, kept by `guard` if another one takes its place.
    pub(crate) async fn current_for(
        &self,
        guard: &mut LinkGuard,
        failed: Option<Generation>,
    ) -> Result<(Connection, Generation), OpenError> {
        let (connection, generation, hold) = self.look(failed).await?;
        guard.hold = Some(hold);
        Ok((connection, generation))
    }

    async fn look(
        &self,
        failed: Option<Generation>,
    ) -> Result<(Connection, Generation, Hold), OpenError> {
        let mut state = self.state.clone();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        let mut reason = String::from("connecting");
        loop {
            match &*state.borrow_and_update() {
                State::Up(connection, made, hold)
                    if failed.is_none_or(|failed| *made > failed.0) =>
                {
                    return Ok((connection.clone(), Generation(*made), hold.clone()));
                }
                // Its end is about to be noticed here, too.
                State::Up(..) => {}
                State::Down(why) => {
                    reason.clone_from(why);
                    self.shared.demand.wanted.notify_one();
                }
                State::Asleep => self.shared.demand.wanted.notify_one(),
            }
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(OpenError::LinkDown("shutting down".into())),
                Err(_elapsed) => return Err(OpenError::LinkDown(reason)),
            }
        }
    }

    /// Whether a connection made after `asked` has taken its place.
    pub(crate) fn has_replaced(&self, asked: Generation) -> bool {
        matches!(&*self.state.borrow(), State::Up(_, made, _) if *made > asked.0)
    }

    /// Waits until a connection made after `asked` took its place: what that one has not answered may
    /// be asked again.
    pub(crate) async fn replaced(&self, asked: Generation) {
        let is_later = |state: &State| matches!(state, State::Up(_, made, _) if *made > asked.0);
        let mut state = self.state.clone();
        if state.wait_for(is_later).await.is_err() {
            // Nobody makes connections any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Lets what runs over `connection` go on if it answers again. If it does not although the server answers
/// on another one, that is over, and whoever waits for it learns so long before the idle timeout.
//= spec/10-proxy.md#ends
//# A client SHOULD end a connection that stays silent while one made after it answers.
async fn leave(connection: Connection) {
    let silence = async {
        loop {
            connection.unanswered(SILENT_PROBES).await;
            tokio::select! {
                () = connection.answered() => {}
                () = sleep(LAST_CHANCE) => return,
            }
        }
    };
    tokio::select! {
        _ = connection.closed() => {}
        () = silence => {
            warn!("what ran over the silent connection is lost");
            connection.close(code::CANCELLED, b"no answer");
        }
    }
}

/// Keeps a `connection` for which there is a better one as long as somebody holds it, and a moment more, in which
/// what was sent last arrives.
async fn retire(connection: Connection, hold: Hold) {
    let unused = async {
        // Its users are few by now, and nobody is told of the last.
        while Arc::strong_count(&hold) > 1 {
            sleep(RETIRE_LOOK).await;
        }
        sleep(RETIRE_LINGER).await;
    };
    tokio::select! {
        () = leave(connection.clone()) => {}
        () = unused => connection.close(code::CANCELLED, b"a better server"),
    }
}

/// What keeps a link's connection.
struct Supervisor<C> {
    connect: C,
    state: watch::Sender<State>,
    demand: Arc<Demand>,
    /// Connections made so far.
    made: u64,
}

/// Why a connection is no longer the link's.
enum Left {
    Lost(ConnectionError),
    /// It fell silent, and this one was made before it answered; or this one is better.
    Replaced(Connection),
}

impl<C, F, E> Supervisor<C>
where
    C: Fn() -> F + Sync,
    F: Future<Output = Result<Connection, E>> + Send + 'static,
    E: fmt::Display + Send + 'static,
{
    async fn run(mut self, first: Option<Connection>, mut offers: mpsc::Receiver<Connection>) {
        let mut next = first;
        loop {
            let connection = match next.take() {
                Some(connection) => connection,
                None => {
                    reconnect(&self.connect, &self.demand.wanted, |why| {
                        self.state.send_replace(State::Down(why.into()));
                    })
                    .await
                }
            };
            if self.made > 0 {
                info!("connected again");
            }
            self.made += 1;
            match self.keep(connection, &mut offers).await {
                Left::Replaced(connection) => next = Some(connection),
                Left::Lost(ConnectionError::LocallyClosed) => return,
                Left::Lost(error) => self.lost(&error).await,
            }
        }
    }

    /// Hands `connection` out until it is lost or replaced.
    async fn keep(&self, connection: Connection, offers: &mut mpsc::Receiver<Connection>) -> Left {
        let hold = Hold::default();
        loop {
            self.demand.remember(connection.remote_address());
            let up = State::Up(connection.clone(), self.made, hold.clone());
            self.state.send_replace(up);
            let replaced = tokio::select! {
                error = connection.closed() => return Left::Lost(error),
                Some(better) = offers.recv() => {
                    info!("moving to a better server; what runs goes on where it is");
                    tokio::spawn(retire(connection, hold));
                    return Left::Replaced(better);
                }
                replaced = self.replacement(&connection) => replaced,
            };
            let Some(replacement) = replaced else {
                info!("the server answers again");
                continue;
            };
            tokio::spawn(leave(connection));
            return Left::Replaced(replacement);
        }
    }

    /// Waits until `connection` is silent, and then for another one; `None` if it answers before.
    async fn replacement(&self, connection: &Connection) -> Option<Connection> {
        loop {
            connection.unanswered(SILENT_PROBES).await;
            tokio::select! {
                () = connection.answered() => {}
                () = sleep(MIN_SILENCE) => break,
            }
        }
        warn!("the server does not answer, connecting again");
        let silent = State::Down("the server does not answer".into());
        self.state.send_replace(silent);
        tokio::select! {
            () = connection.answered() => None,
            connection = reconnect(&self.connect, &self.demand.wanted, |_| ()) => Some(connection),
        }
    }

    /// Says that the connection is lost; one that nobody used waits until somebody wants one.
    async fn lost(&self, error: &ConnectionError) {
        let is_idle = self.demand.users.load(Ordering::Relaxed) == 0;
        if *error == ConnectionError::TimedOut && is_idle {
            self.state.send_replace(State::Asleep);
            self.demand.wanted.notified().await;
        } else {
            warn!(%error, "connection to the server lost, reconnecting");
            self.state.send_replace(State::Down(error.to_string()));
        }
    }
}
