//! The proxy's log, line by line, to a function of the program it runs in.
//! What is logged is decided where it happens.

use std::{
    ffi::{CString, c_char, c_void},
    io,
};

use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

type Callback = unsafe extern "C" fn(context: *mut c_void, level: i32, text: *const c_char);

/// A function in C, and what it is called with.
#[derive(Debug)]
pub(crate) struct LogTarget {
    callback: Callback,
    context: *mut c_void,
}

// SAFETY: whoever makes a `LogTarget` promises that the function may be called with the context from another thread.
unsafe impl Send for LogTarget {}
// SAFETY: as above; the proxy has one thread, so that no two calls run at once.
unsafe impl Sync for LogTarget {}

impl LogTarget {
    /// # Safety
    /// `callback` may be called with `context` from any one thread at a time for as long as the value lives.
    pub(crate) unsafe fn new(callback: Callback, context: *mut c_void) -> Self {
        Self { callback, context }
    }

    fn call(&self, level: i32, text: &CString) {
        // SAFETY: whoever made this promised that the function may be called so; the text ends with a NUL and lives
        // until the call is over.
        unsafe { (self.callback)(self.context, level, text.as_ptr()) };
    }

    /// Where events up to `level` become lines for the target.
    pub(crate) fn dispatch(self, level: Level) -> Dispatch {
        let lines = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_level(false)
            .without_time()
            .with_writer(Lines(self));
        Dispatch::new(lines.finish())
    }
}

#[derive(Debug)]
struct Lines(LogTarget);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.line(3)
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        self.line(match *of.level() {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            Level::DEBUG => 4,
            Level::TRACE => 5,
        })
    }
}

impl Lines {
    fn line(&self, level: i32) -> Line<'_> {
        Line {
            target: &self.0,
            level,
            text: Vec::new(),
        }
    }
}

/// One line, handed over when it is complete.
#[derive(Debug)]
struct Line<'a> {
    target: &'a LogTarget,
    level: i32,
    text: Vec<u8>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.retain(|&byte| byte != 0);
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        if let Ok(text) = CString::new(text)
            && !text.is_empty()
        {
            self.target.call(self.level, &text);
        }
    }
}
