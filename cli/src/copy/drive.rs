//! Drives one half of a copy over the streams of a connection: hands it what arrives, and has it work in
//! `run_half`. Which half it is makes no difference.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rp_protocol::{
    Connection, SendStream,
    error::{ConnectionError, ReadError},
};
use rp_transfer::{
    error::Error,
    message::{DecodeError, Done, Message, Status},
    session::{Half, Input, Summary},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    CopyError,
    activity::{Activity, Patience},
    arrivals::Arrivals,
    control::{ControlError, ControlReader, ControlWriter},
    run_half::{Arrival, Outgoing, run_half},
};
use crate::file_threads::Worker;

/// Batches of blocks the connection may be ahead of a receiver's disk, each of [`BATCH`] bytes. A disk that
/// takes longer is waited for in the credit of the stream.
const INPUTS: usize = 4;

/// Bytes of blocks handed over at a time: what is written to disk at a time.
const BATCH: usize = 256 << 10;

/// Longest time that blocks which come too slowly to fill a batch are coalesced: handing one over wakes a
/// thread, which for every packet by itself costs more than the packet.
const MAX_DELAY: Duration = Duration::from_millis(5);

/// Blocks are coalesced for at most this part of the time the stream has taken so far: a small file is not
/// waited for.
const MAX_DELAY_PART: u32 = 8;

/// The least the runtime's timers tell apart.
const TICK: Duration = Duration::from_millis(1);

/// How long a half may take to see that the copy is over once the other side has ended it. It is
/// used up only by one that waits for standard input.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long the other side may take to take a refusal.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the half, on a file thread, where opening files may block.
pub(super) type MakeHalf = Box<dyn FnOnce() -> Box<dyn Half> + Send>;

/// The streams of one request.
#[derive(Debug)]
pub(super) struct Streams<'a> {
    pub(super) connection: &'a Connection,
    pub(super) reader: ControlReader,
    pub(super) writer: ControlWriter,
    /// The data stream of a sender.
    pub(super) data: Option<SendStream>,
    /// Where a receiver finds its data stream.
    pub(super) arrivals: &'a Arrivals,
    /// How long the other side is waited for.
    pub(super) patience: Patience,
    /// What works on the file.
    pub(super) worker: &'a Worker,
}

/// Runs a copy to its end. When `stop` is done before, the other side is told and the copy fails
/// as interrupted.
pub(super) async fn drive(
    make: MakeHalf,
    streams: Streams<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Summary, CopyError> {
    let (inputs, half_inputs) = mpsc::channel(INPUTS);
    let (attach, attached) = mpsc::unbounded_channel();
    let activity = Activity::default();
    let lost = Mutex::new(None);
    let Streams {
        connection,
        mut reader,
        writer,
        data,
        arrivals,
        patience,
        worker,
    } = streams;
    let outgoing = Outgoing::new(connection, writer, data, attach, &activity);
    let stalled = activity.stalled(connection, patience);
    let result = tokio::select! {
        result = run_half(make, half_inputs, outgoing, worker) => result,
        error = read_control(&mut reader, &inputs, &lost, &activity) => Err(error),
        error = read_data(attached, arrivals, &inputs, &activity) => Err(error),
        error = interrupt(stop, &inputs) => Err(error),
        error = interrupt(stalled, &inputs) => Err(error),
    };
    // The half learns of a standstill as an interruption, and of a lost connection as an end without
    // Done; what they are says more.
    if result.is_err() && activity.is_stalled() {
        return Err(CopyError::Stalled(patience.silence));
    }
    let lost = lost.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (result, lost) {
        (Err(CopyError::Transfer(Error::Protocol(_))), Some(lost)) => Err(CopyError::Lost(lost)),
        (result, _) => result,
    }
}

/// Hands messages to the half; returns when the copy is over and the half has not noticed.
async fn read_control(
    reader: &mut ControlReader,
    inputs: &mpsc::Sender<Input>,
    lost: &Mutex<Option<ConnectionError>>,
    activity: &Activity,
) -> CopyError {
    let end = loop {
        let next = reader.next().await;
        match next {
            Ok(Some(Message::Working)) => activity.on_working(),
            _ => activity.on_event(),
        }
        match next {
            //= spec/20-copy.md#silence
            //# Working MUST be taken in any state before Done and changes none.
            Ok(Some(Message::Working)) => {}
            Ok(Some(message)) => {
                match message {
                    Message::Done(_) => activity.on_done(),
                    Message::Delta(_) => activity.on_replaced(),
                    _ => {}
                }
                let refusal = refusal(&message);
                // A half that is over takes no more; its Done is being sent.
                let _ = inputs.send(Input::Message(message)).await;
                if let Some(done) = refusal {
                    tokio::time::sleep(GRACE).await;
                    return Error::Peer(done).into();
                }
            }
            Err(ControlError::Decode(error)) => break Input::Malformed(error),
            Err(ControlError::Read(ReadError::ConnectionLost(error))) => {
                lost.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(error);
                break Input::ControlEnd;
            }
            Ok(None) => {
                // The half knows whether there was anything left to say.
                let _ = inputs.send(Input::ControlFinished).await;
                return std::future::pending().await;
            }
            Err(ControlError::Read(_)) => break Input::ControlEnd,
        }
    };
    let _ = inputs.send(end).await;
    tokio::time::sleep(GRACE).await;
    Error::Protocol("the stream ended without Done").into()
}

/// The Done by which the other side gives up.
fn refusal(message: &Message) -> Option<Done> {
    match message {
        Message::Done(done) if done.status != Status::Ok => Some(done.clone()),
        _ => None,
    }
}

/// Hands blocks to the half, once it has said from which stream, one stream after the other; returns when they
/// end early and nothing is said about it.
async fn read_data(
    mut attached: mpsc::UnboundedReceiver<Arrival>,
    arrivals: &Arrivals,
    inputs: &mpsc::Sender<Input>,
    activity: &Activity,
) -> CopyError {
    let mut next = attached.recv().await;
    while let Some(arrival) = next {
        let (id, ordered) = match arrival {
            Arrival::Take { stream, ordered } => (stream, ordered),
            Arrival::Refuse(stream) => {
                arrivals.abandon(stream);
                next = attached.recv().await;
                continue;
            }
        };
        //= spec/20-copy.md#silence
        //# A side that is named a data stream which the other side cannot open MUST end the request
        //# with status protocol.
        if !arrivals.can_bring(id) {
            let refused = Input::Malformed(DecodeError::Stream(id));
            let _ = inputs.send(refused).await;
            break;
        }
        let replaced = activity.replacements();
        let _ = inputs.send(Input::Attached(id)).await;
        let carried = tokio::select! {
            // Another takes its place.
            arrival = attached.recv() => {
                next = arrival;
                continue;
            }
            carried = carry_data(id, ordered, arrivals, inputs, activity) => carried,
        };
        match carried {
            Ok(true) => {
                let _ = inputs.send(Input::DataEnd).await;
            }
            // Why the data ends early, the control stream will say: by Done, or by the name of another stream,
            // which is attached to when the half comes to it.
            Err(ReadError::Reset(_)) => {
                if let Ok(arrival) = tokio::time::timeout(GRACE, attached.recv()).await {
                    next = arrival;
                    continue;
                }
                //= spec/20-copy.md#silence
                //# A side whose data stream is reset or stopped, and that gets neither Done nor Delta within 2
                //# seconds, MUST treat the copy as failed.
                if !activity.is_done() && activity.replacements() == replaced {
                    return Error::Protocol("the data was cut off without Done").into();
                }
            }
            Ok(false) | Err(_) => break,
        }
        next = attached.recv().await;
    }
    std::future::pending().await
}

/// Hands over a data stream; true when it was whole.
async fn carry_data(
    id: u64,
    ordered: bool,
    arrivals: &Arrivals,
    inputs: &mpsc::Sender<Input>,
    activity: &Activity,
) -> Result<bool, ReadError> {
    let mut stream = arrivals.take(id).await?;
    activity.on_event();
    let began = Instant::now();
    let mut offset = 0;
    let (mut blocks, mut slices) = (Vec::new(), Vec::new());
    loop {
        blocks.clear();
        let more = if ordered {
            stream.read_slices(&mut slices, BATCH).await?
        } else {
            stream.read_blocks(&mut blocks, BATCH).await?
        };
        activity.on_event();
        if !more {
            return Ok(true);
        }
        blocks.extend(slices.drain(..).map(|slice| {
            let at = offset;
            offset += slice.len() as u64;
            (at, slice)
        }));
        let bytes: usize = blocks.iter().map(|block| block.1.len()).sum();
        if inputs.send(Input::Blocks(joined(&blocks))).await.is_err() {
            return Ok(false);
        }
        if bytes < BATCH / 2 && !stream.is_ended() {
            let pause = MAX_DELAY.min(began.elapsed() / MAX_DELAY_PART);
            if pause >= TICK {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The same bytes with neighbours joined, copied out of the receive buffers.
///
/// A block is a slice of a buffer several times its size. Waiting for the disk as slices, blocks
/// would hold that much memory; as copies they hold what they are, and are written in one call.
fn joined(blocks: &[(u64, Bytes)]) -> Vec<(u64, Bytes)> {
    let follows = |a: &(u64, Bytes), b: &(u64, Bytes)| a.0 + a.1.len() as u64 == b.0;
    blocks
        .chunk_by(follows)
        .filter_map(|run| {
            let mut bytes = Vec::with_capacity(run.iter().map(|block| block.1.len()).sum());
            run.iter()
                .for_each(|block| bytes.extend_from_slice(&block.1));
            Some((run.first()?.0, Bytes::from(bytes)))
        })
        .collect()
}

/// Waits until the copy has to stop, and gives the half a moment to say so.
async fn interrupt(stop: impl Future<Output = ()>, inputs: &mpsc::Sender<Input>) -> CopyError {
    stop.await;
    let interrupted = async {
        let _ = inputs.send(Input::Interrupt).await;
        std::future::pending::<()>().await;
    };
    let _ = tokio::time::timeout(GRACE, interrupted).await;
    Error::Interrupted.into()
}
