//! The forwards of a running program: those it was started with, and those added since. How one is
//! written is in `forward`, how bytes move in `rp_proxy`.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rp_proxy::{
    Client,
    client::forward::RemoteState,
    listening::Listening,
    target::{Destination, ListenAt},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use crate::{
    address,
    control::Refusal,
    exit_code::Failure,
    forward::{BadForward, Bound, Carried, Direction, ForwardKey, ForwardSpec, ListenSpec},
    run,
    signals::Draining,
};

mod command;

pub use command::command;

/// How long the server's answer to a remote forward is waited for before the caller is told.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Most forwards of one program; each has a socket at one of the sides.
const MAX_FORWARDS: usize = 256;

/// Why a forward was not added.
#[derive(Debug, Error)]
pub enum AddError {
    /// Its address cannot be listened at.
    #[error("cannot listen: {0}{advice}", advice = address::advice(.0))]
    Listen(#[from] std::io::Error),
    /// The server cannot be told where to listen.
    #[error(transparent)]
    Spec(#[from] BadForward),
    /// There is one that listens there.
    #[error("there is a forward that listens there; remove that one first")]
    Exists,
    /// Too many.
    #[error("there are {MAX_FORWARDS} forwards already; remove one first")]
    TooMany,
}

/// A forward, and how it is.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ForwardStatus {
    /// `-L` or `-R`.
    pub flag: String,
    /// As it is typed.
    pub forward: String,
    /// Where it listens, or why not.
    pub state: String,
}

impl fmt::Display for ForwardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}  {}", self.flag, self.forward, self.state)
    }
}

/// Forwards that are to begin, the local ones with their sockets.
#[derive(Debug)]
pub struct Planned(Vec<(ForwardSpec, Option<Bound>)>);

/// Listens for the local ones among `forwards`, before anything is asked of the server: a taken port is a
/// common mistake.
///
/// # Errors
/// An address cannot be listened at; the text names the forward.
pub async fn listen(forwards: &[(Direction, ForwardSpec)]) -> Result<Planned, Failure> {
    let mut planned = Vec::new();
    for (direction, spec) in forwards {
        let failed =
            |error: AddError| Failure::other(format!("{} {spec}: {error}", direction.flag()));
        let bound = match direction {
            Direction::Local => Some(spec.listen().await.map_err(|e| failed(e.into()))?),
            Direction::Remote => None,
        };
        planned.push((spec.clone(), bound));
    }
    Ok(Planned(planned))
}

/// Begins what was planned.
///
/// # Errors
/// Two of them listen at the same place; the text names the second.
pub fn start(client: &Client, planned: Planned) -> Result<Arc<Forwards>, Failure> {
    let forwards = Forwards::new(client.clone());
    for (spec, bound) in planned.0 {
        let text = spec.to_string();
        let begun = match bound {
            Some(bound) => forwards.add_local(bound, spec),
            None => forwards.add_remote(spec),
        };
        begun.map_err(|error| Failure::other(format!("forward {text}: {error}")))?;
    }
    Ok(Arc::new(forwards))
}

/// The forwards that run; dropping it ends them.
#[derive(Debug)]
pub struct Forwards {
    client: Client,
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    direction: Direction,
    spec: ForwardSpec,
    state: watch::Receiver<RemoteState>,
    /// Of a local one.
    listening: Option<Arc<Listening>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The tasks may not run again before the process ends.
        if let Some(listening) = &self.listening {
            listening.remove_file();
        }
    }
}

impl Forwards {
    /// None yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            running: Mutex::default(),
        }
    }

    /// Begins a forward.
    ///
    /// # Errors
    /// See [`AddError`]; the server's refusal of a remote one is none: it is asked again.
    pub async fn add(&self, direction: Direction, spec: ForwardSpec) -> Result<(), AddError> {
        match direction {
            Direction::Local => self.add_local(spec.listen().await?, spec),
            Direction::Remote => self.add_remote(spec),
        }
    }

    /// Begins a local forward that listens with `bound`.
    ///
    /// # Errors
    /// See [`AddError`].
    pub fn add_local(&self, bound: Bound, spec: ForwardSpec) -> Result<(), AddError> {
        let at = bound.local_addr()?;
        let (_, state) = watch::channel(RemoteState::Listening(at));
        let listening = match &bound {
            Bound::Streams(listening) => Some(Arc::clone(listening)),
            Bound::Datagrams(_) => None,
        };
        self.begin(Direction::Local, spec, (state, listening), |client, to| {
            let forward = match (bound, to.clone()) {
                (Bound::Streams(listening), to) => {
                    tokio::spawn(async move { client.forward(&listening, &to).await })
                }
                (Bound::Datagrams(ports), Destination::Tcp(target)) => {
                    run::say(&format!("forwarding {at} to {to}/udp"));
                    return vec![tokio::spawn(ports.forward(client, target)).abort_handle()];
                }
                // How a forward is written leaves no such one.
                (Bound::Datagrams(_), Destination::Unix(_)) => return Vec::new(),
            };
            match at.port() {
                0 => run::say(&format!("forwarding to {to}")),
                _ => run::say(&format!("forwarding {at} to {to}")),
            }
            vec![forward.abort_handle()]
        })
    }

    fn add_remote(&self, spec: ForwardSpec) -> Result<(), AddError> {
        let at = spec.listen.at_server()?;
        let carried = spec.carried;
        let (sender, state) = watch::channel(RemoteState::Asking);
        let mut watched = state.clone();
        self.begin(Direction::Remote, spec, (state, None), |client, to| {
            let leads = format!("{to}{}", carried.suffix());
            let forward = tokio::spawn(async move {
                match (carried, at, &to) {
                    (Carried::Datagrams, ListenAt::Tcp(host, port), Destination::Tcp(target)) => {
                        let at = (host, port);
                        client.forward_datagrams_back(at, target, &sender).await;
                    }
                    (_, at, to) => client.forward_remote(&at, to, &sender).await,
                }
            });
            let tell = tokio::spawn(async move {
                while watched.changed().await.is_ok() {
                    let state = watched.borrow_and_update().clone();
                    if let RemoteState::Listening(bound) = state {
                        run::say(&format!("the server forwards {bound} to {leads}"));
                    }
                }
            });
            vec![forward.abort_handle(), tell.abort_handle()]
        })
    }

    fn begin(
        &self,
        direction: Direction,
        spec: ForwardSpec,
        (state, listening): (watch::Receiver<RemoteState>, Option<Arc<Listening>>),
        start: impl FnOnce(Client, Destination) -> Vec<AbortHandle>,
    ) -> Result<(), AddError> {
        let mut running = self.running();
        // Of those at any port there may be several.
        let is_there = |other: &Running| {
            other.direction == direction
                && other.spec.key() == spec.key()
                && !matches!(spec.listen, ListenSpec::Port(_, 0))
        };
        if running.iter().any(is_there) {
            return Err(AddError::Exists);
        }
        if running.len() >= MAX_FORWARDS {
            return Err(AddError::TooMany);
        }
        let tasks = start(self.client.clone(), spec.to.clone());
        running.push(Running {
            direction,
            spec,
            state,
            listening,
            tasks,
        });
        Ok(())
    }

    /// Ends the forwards of `key`; connections they carry go on. `false` if there is none.
    pub fn remove(&self, direction: Direction, key: &ForwardKey) -> bool {
        let mut running = self.running();
        let before = running.len();
        running.retain(|one| one.direction != direction || one.spec.key() != *key);
        running.len() < before
    }

    /// Begins the forward that is typed as `text` behind `flag`, and says how it is: what a remote one has
    /// come to within a moment.
    ///
    /// # Errors
    /// It is no forward, or cannot begin.
    pub async fn add_typed(&self, flag: &str, text: &str) -> Result<Vec<ForwardStatus>, Refusal> {
        let direction = direction(flag)?;
        let spec: ForwardSpec = text.parse().map_err(refusal)?;
        self.add(direction, spec.clone()).await.map_err(refusal)?;
        let state = self.running().last().map(|one| one.state.clone());
        if let Some(mut state) = state {
            let answered = state.wait_for(|state| *state != RemoteState::Asking);
            // What is not answered by then is told as it is.
            let _ = timeout(FIRST_ANSWER, answered).await;
        }
        let mut all = self.list();
        all.retain(|one| one.flag == flag && one.forward == spec.to_string());
        Ok(all.split_off(all.len().saturating_sub(1)))
    }

    /// Ends the forwards that listen where `text` says behind `flag`.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_typed(&self, flag: &str, text: &str) -> Result<Vec<ForwardStatus>, Refusal> {
        let key: ForwardKey = text.parse().map_err(refusal)?;
        if !self.remove(direction(flag)?, &key) {
            let why = format!("no forward {flag} listens at {text}; `forward list` shows them");
            return Err(Refusal::new(why));
        }
        Ok(Vec::new())
    }

    /// Ends all of them once `draining` is on; what they carry goes on. Never ends itself.
    pub async fn end_with(&self, draining: &Draining) {
        draining.on().await;
        self.running().clear();
        std::future::pending().await
    }

    /// All of them, in the order they were added.
    pub fn list(&self) -> Vec<ForwardStatus> {
        let running = self.running();
        let status = running.iter().map(|one| ForwardStatus {
            flag: one.direction.flag().to_owned(),
            forward: one.spec.to_string(),
            state: one.state.borrow().to_string(),
        });
        status.collect()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(error: impl fmt::Display) -> Refusal {
    Refusal::new(error.to_string())
}

fn direction(flag: &str) -> Result<Direction, Refusal> {
    let all = [Direction::Local, Direction::Remote];
    all.into_iter()
        .find(|direction| direction.flag() == flag)
        .ok_or_else(|| Refusal::new("a forward is -L or -R"))
}
