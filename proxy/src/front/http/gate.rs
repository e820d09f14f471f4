//! A request body that is not touched until the origin asks for it (`Expect: 100-continue`).
//! Touching it is what makes hyper tell the client to go on.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// How long an origin may leave the question open: not all of them know it, and RFC 9110 section
/// 10.1.1 has clients go on by themselves, curl after one second.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a gate from the callback that sees the origin's 100.
#[derive(Clone, Debug, Default)]
pub(super) struct Opener(Arc<Mutex<Opening>>);

#[derive(Debug, Default)]
struct Opening {
    is_open: bool,
    waker: Option<Waker>,
}

impl Opener {
    pub(super) fn open(&self) {
        let mut opening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opening.is_open = true;
        if let Some(waker) = opening.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut opening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if opening.is_open {
            return Poll::Ready(());
        }
        opening.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A client's request body on its way to the origin.
#[derive(Debug)]
pub(super) struct GatedBody {
    body: Incoming,
    gate: Option<Gate>,
}

#[derive(Debug)]
struct Gate {
    opener: Opener,
    timer: Pin<Box<Sleep>>,
}

impl GatedBody {
    /// A body that flows at once.
    pub(super) fn open(body: Incoming) -> Self {
        Self { body, gate: None }
    }

    /// A body that waits for `opener`, or for the origin to say nothing for too long.
    pub(super) fn closed(body: Incoming, opener: Opener) -> Self {
        let timer = Box::pin(sleep(CONTINUE_TIMEOUT));
        Self {
            body,
            gate: Some(Gate { opener, timer }),
        }
    }
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(gate) = &mut self.gate {
            if gate.opener.poll(cx).is_pending() && gate.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
