//! Has one half of a copy work on the file threads, step by step, and sends what it says. What arrives for
//! it is read in `drive`.

use std::{mem, pin::pin};

use bytes::Bytes;
use rp_protocol::{Connection, SendStream, error::WriteError, units::CloseCode};
use rp_transfer::{
    error::Error,
    message::Message,
    session::{Contents, Half, Input, Output, Summary},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    CopyError,
    activity::{Activity, WORKING_AFTER},
    control::ControlWriter,
    drive::{GRACE, MakeHalf},
};
use crate::file_threads::Worker;

/// What a half is asked for on a file thread before another copy gets its turn.
const OUTPUTS_PER_STEP: usize = 8;

/// Has the half work and does as it says, until it is over.
pub(super) async fn run_half(
    make: MakeHalf,
    mut inputs: mpsc::Receiver<Input>,
    mut outgoing: Outgoing<'_>,
    worker: &Worker,
) -> Result<Summary, CopyError> {
    let made = worker.run(make).await;
    let made = made.map_err(|error| Error::io("working on the file", error))?;
    let mut half = OnThreads {
        half: Some(made),
        worker,
    };
    let mut arrived = Vec::new();
    loop {
        while let Ok(input) = inputs.try_recv() {
            arrived.push(input);
        }
        let window = outgoing.window().await?;
        let step = outgoing
            .while_working(half.step(mem::take(&mut arrived), window))
            .await?;
        for output in step.outputs {
            if let Some(result) = outgoing.send(output).await? {
                return result.map_err(CopyError::from);
            }
        }
        if step.waits {
            outgoing.activity.set_half_waits(true);
            tokio::select! {
                Some(input) = inputs.recv() => arrived.push(input),
                writable = outgoing.writable(), if step.wants_window || outgoing.is_stopped() => {
                    writable?;
                }
                else => return Err(Error::Protocol("the copy ended unexpectedly").into()),
            }
            outgoing.activity.set_half_waits(false);
            outgoing.quiet_since = Instant::now();
        }
    }
}

/// The half of a copy, which lives on the file threads: its end, too, may wait for a disk.
struct OnThreads<'a> {
    half: Option<Box<dyn Half>>,
    worker: &'a Worker,
}

/// What one step of a half came to.
struct Step {
    outputs: Vec<Output>,
    /// Nothing more is to be done before it gets more inputs, or a window.
    waits: bool,
    wants_window: bool,
}

impl OnThreads<'_> {
    /// Hands in what arrived and collects what is to be done.
    async fn step(&mut self, arrived: Vec<Input>, window: u64) -> Result<Step, CopyError> {
        let ended = || Error::Protocol("the copy ended unexpectedly");
        let mut half = self.half.take().ok_or_else(ended)?;
        let work = self.worker.run(move || {
            half.set_window(window);
            arrived.into_iter().for_each(|input| half.handle(input));
            let step = collect(half.as_mut());
            (half, step)
        });
        let (half, step) = work
            .await
            .map_err(|error| Error::io("working on the file", error))?;
        self.half = Some(half);
        Ok(step)
    }
}

impl Drop for OnThreads<'_> {
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            // Without a thread it is dropped here.
            let _ = self.worker.spawn(move || drop(half));
        }
    }
}

/// What a half wants done, up to the next piece of its file.
fn collect(half: &mut dyn Half) -> Step {
    let mut outputs = Vec::new();
    let mut waits = false;
    while outputs.len() < OUTPUTS_PER_STEP && !waits {
        match half.poll() {
            Output::Wait => waits = true,
            output => {
                let is_enough = matches!(output, Output::Data(_) | Output::Busy | Output::Over(_));
                outputs.push(output);
                if is_enough {
                    break;
                }
            }
        }
    }
    Step {
        outputs,
        waits,
        wants_window: half.wants_window(),
    }
}

/// What becomes of a data stream that comes in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// It is handed in.
    Take {
        /// Its id.
        stream: u64,
        /// Whether from front to back.
        ordered: bool,
    },
    /// It is stopped.
    Refuse(u64),
}

/// Where a half's outputs go.
pub(super) struct Outgoing<'a> {
    connection: &'a Connection,
    writer: ControlWriter,
    /// The data stream of a sender, as long as the other side wants it.
    data: Option<SendStream>,
    attach: mpsc::UnboundedSender<Arrival>,
    has_begun: bool,
    /// When something was sent last, or waited for.
    quiet_since: Instant,
    /// When the other side stopped the data stream.
    stopped_at: Option<Instant>,
    activity: &'a Activity,
}

impl<'a> Outgoing<'a> {
    /// Sends messages by `writer` and a sender's file by `data`; `attach` learns of the streams that a receiver
    /// reads.
    pub(super) fn new(
        connection: &'a Connection,
        writer: ControlWriter,
        data: Option<SendStream>,
        attach: mpsc::UnboundedSender<Arrival>,
        activity: &'a Activity,
    ) -> Self {
        Self {
            connection,
            writer,
            data,
            attach,
            has_begun: false,
            quiet_since: Instant::now(),
            stopped_at: None,
            activity,
        }
    }

    //= spec/20-copy.md#silence
    //# A side that is busy on its own, and has sent nothing for 10 seconds, MUST send Working.
    /// Waits for `work` on this side.
    async fn while_working<T>(
        &mut self,
        work: impl Future<Output = Result<T, CopyError>>,
    ) -> Result<T, CopyError> {
        let mut work = pin!(work);
        loop {
            // Work of many steps is no less silent than that of one.
            match timeout_at(self.quiet_since + WORKING_AFTER, &mut work).await {
                Ok(done) => return done,
                Err(_) if self.has_begun => self.send_message(&Message::Working).await?,
                Err(_) => self.quiet_since = Instant::now(),
            }
        }
    }

    /// Waits until the data stream takes bytes, and says how many; fails when it was stopped and no Done has
    /// come to say why.
    //= spec/20-copy.md#silence
    //# A side whose data stream is reset or stopped, and that gets neither Done nor Delta within 2 seconds, MUST
    //# treat the copy as failed.
    async fn writable(&mut self) -> Result<u64, CopyError> {
        if let Some(stream) = &mut self.data {
            match stream.writable().await {
                Ok(bytes) => return Ok(bytes as u64),
                Err(error) => self.on_data_written(Err(error))?,
            }
        }
        if let Some(at) = self.stopped_at {
            sleep_until(at + GRACE).await;
            if !self.activity.is_done() {
                return Err(Error::Protocol("the data was stopped without Done").into());
            }
        }
        std::future::pending().await
    }

    /// How many bytes the data stream takes at present.
    async fn window(&mut self) -> Result<u64, CopyError> {
        tokio::select! {
            biased;
            writable = self.writable() => writable,
            () = std::future::ready(()) => Ok(0),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// Does as the half says; the copy's result once it is over.
    async fn send(&mut self, output: Output) -> Result<Option<Result<Summary, Error>>, CopyError> {
        match output {
            Output::Message(message) => self.send_message(&message).await?,
            Output::Data(bytes) => self.send_data(bytes).await?,
            Output::DataEnd => {
                if let Some(stream) = &mut self.data {
                    let finished = stream.finish();
                    self.on_data_written(finished)?;
                }
            }
            Output::Attach { stream, ordered } => {
                // Only gone together with this future.
                let _ = self.attach.send(Arrival::Take { stream, ordered });
            }
            Output::Refuse { stream } => {
                let _ = self.attach.send(Arrival::Refuse(stream));
            }
            Output::Reopen(contents) => self.reopen(contents).await?,
            Output::Wait | Output::Busy => {}
            Output::Over(result) => {
                // Not waited for: the file is what it is, whether the last message arrives or not, and
                // whoever closes the connection after this sends it before.
                let _ = self.writer.finish();
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Goes on on another data stream, which holds `contents`.
    async fn reopen(&mut self, contents: Contents) -> Result<(), CopyError> {
        // What was sent on the one before is not wanted; it may be stopped already.
        if let Some(stream) = &mut self.data {
            stream.reset(CloseCode::from_u32(0));
        }
        let opened = self.activity.sending(self.connection.open_uni()).await?;
        let stream = opened.id().into_inner();
        (self.data, self.stopped_at) = (Some(opened), None);
        self.send_message(&contents.name(stream)).await
    }

    async fn send_message(&mut self, message: &Message) -> Result<(), CopyError> {
        let sent = self.activity.sending(self.writer.send(message)).await;
        (self.has_begun, self.quiet_since) = (true, Instant::now());
        keep_alive(sent)
    }

    /// Sends file bytes, until the other side wants no more of them: why, its Done will say.
    async fn send_data(&mut self, mut bytes: Bytes) -> Result<(), CopyError> {
        while let Some(stream) = &mut self.data
            && !bytes.is_empty()
        {
            let written = self.activity.sending(stream.write_some(&mut bytes)).await;
            self.on_data_written(written)?;
            self.quiet_since = Instant::now();
        }
        Ok(())
    }

    fn on_data_written(&mut self, written: Result<(), WriteError>) -> Result<(), CopyError> {
        if written.is_err() {
            self.data = None;
        }
        if let Err(WriteError::Stopped(_)) = written {
            self.stopped_at = Some(Instant::now());
        }
        keep_alive(written)
    }
}

/// A stream that is stopped or closed is no end of the copy: what matters comes on the other one.
fn keep_alive(written: Result<(), WriteError>) -> Result<(), CopyError> {
    match written {
        Err(WriteError::ConnectionLost(error)) => Err(CopyError::Lost(error)),
        _ => Ok(()),
    }
}
