//! The one connection to the server that everything shares, and how it comes back after a loss.
//! What runs over its streams is `client`'s business.

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rp_protocol::{Connection, error::ConnectionError};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use crate::error::OpenError;

/// First pause after a failed attempt, doubled up to [`MAX_BACK_OFF`]; each pause is drawn
/// between half and all of it, so that clients of a restarted server do not return in step.
const MIN_BACK_OFF: Duration = Duration::from_millis(500);

/// Longest pause between attempts: what a person who repaired something is willing to wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// How long a client that wants a stream waits for the connection to come back.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum State {
    Up(Connection),
    /// Lost or never made; attempts go on.
    Down(String),
    /// Given up by silence while nothing used it; the next use brings it back.
    Asleep,
}

/// A handle to the connection; clones share it. Dropping the last one ends the attempts.
#[derive(Clone)]
pub struct Link {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
}

struct Shared {
    demand: Arc<Demand>,
    supervisor: JoinHandle<()>,
}

#[derive(Default)]
struct Demand {
    wanted: Notify,
    users: AtomicUsize,
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
pub struct LinkGuard(Arc<Demand>);

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.users.load(Ordering::Relaxed))
    }
}

impl Drop for LinkGuard {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    /// A link that starts with `connection` and calls `connect` whenever it is lost. Must be
    /// called inside a tokio runtime.
    pub fn new<C, F, E>(connection: Connection, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Connection, E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let (sender, state) = watch::channel(State::Up(connection.clone()));
        let demand = Arc::<Demand>::default();
        let supervisor = tokio::spawn(supervise(connection, connect, sender, demand.clone()));
        let shared = Arc::new(Shared { demand, supervisor });
        Self { state, shared }
    }

    /// Registers a user until the returned value is dropped.
    pub fn acquire(&self) -> LinkGuard {
        self.shared.demand.users.fetch_add(1, Ordering::Relaxed);
        LinkGuard(self.shared.demand.clone())
    }

    /// The connection; where there is none at the moment, waits a while for the next attempts.
    pub async fn connection(&self) -> Result<Connection, OpenError> {
        let mut state = self.state.clone();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        let mut reason = String::from("connecting");
        loop {
            match &*state.borrow_and_update() {
                State::Up(connection) => return Ok(connection.clone()),
                State::Down(why) => reason.clone_from(why),
                State::Asleep => self.shared.demand.wanted.notify_one(),
            }
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(OpenError::LinkDown("shutting down".into())),
                Err(_elapsed) => return Err(OpenError::LinkDown(reason)),
            }
        }
    }
}

async fn supervise<C, F, E>(
    mut connection: Connection,
    connect: C,
    state: watch::Sender<State>,
    demand: Arc<Demand>,
) where
    C: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<Connection, E>> + Send + 'static,
    E: fmt::Display + Send + 'static,
{
    loop {
        let error = connection.closed().await;
        let is_idle = demand.users.load(Ordering::Relaxed) == 0;
        if error == ConnectionError::LocallyClosed {
            return;
        }
        if error == ConnectionError::TimedOut && is_idle {
            state.send_replace(State::Asleep);
            demand.wanted.notified().await;
        } else {
            warn!(%error, "connection to the server lost, reconnecting");
            state.send_replace(State::Down(error.to_string()));
        }
        connection = reconnect(&connect, &state).await;
        info!("connected again");
        state.send_replace(State::Up(connection.clone()));
    }
}

async fn reconnect<C, F, E>(connect: &C, state: &watch::Sender<State>) -> Connection
where
    C: Fn() -> F + Sync,
    F: Future<Output = Result<Connection, E>>,
    E: fmt::Display,
{
    let mut back_off = MIN_BACK_OFF;
    loop {
        match connect().await {
            Ok(connection) => return connection,
            Err(error) => {
                info!(%error, "cannot reach the server");
                state.send_replace(State::Down(error.to_string()));
            }
        }
        sleep(jittered(back_off)).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Between half and all of `pause`. The standard library's hasher keys are random enough for it.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    let half = pause / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}
