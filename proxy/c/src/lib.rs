//! The C interface: a proxy client or server that runs inside another program, in a thread of its own.
//! What runs there is in `running`, how it is told what to do in `settings`, who hears of it in `log`.
//!
//! All unsafe code is in this file and in `log`: pointers from C become values here, and nothing behind knows of them.
//! A panic ends at this border: it is an error of the call it happened in.

mod log;
mod running;
mod settings;

use std::{
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use self::{
    log::LogTarget,
    running::{Running, StartError},
};

/// Takes one line of the log, without an end of line, as UTF-8 that is valid until it returns. `level` is 1 for errors,
/// 2 for warnings, 3 for information, 4 and 5 for what helps to find faults. Called in the proxy's thread; it must not
/// call back into this library.
#[expect(
    non_camel_case_types,
    reason = "the name that programs in C know it by"
)]
pub type rp_log_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, level: i32, text: *const c_char)>;

/// A client or server that runs.
#[expect(
    non_camel_case_types,
    reason = "the name that programs in C know it by"
)]
#[derive(Debug)]
pub struct rp_proxy {
    running: Running,
}

/// Starts a client: a local port that speaks HTTP and SOCKS, whose connections leave from the server. Returns as soon as
/// the port listens; a server that is not there yet is tried again and again.
///
/// `settings` is a JSON object:
///
/// - `"server"`: address of the server, with port: `"192.0.2.1:7377"`
/// - `"host-key"`: fingerprint of the server's key: `"SHA256:..."`
/// - `"identity"`: file with our private key, in OpenSSH format, not encrypted
/// - `"listen"`: address of the port (default `"127.0.0.1:1080"`; port 0 for any that is free)
/// - `"log"`: `"error"`, `"warn"`, `"info"` (default), `"debug"` or `"trace"`
///
/// Returns NULL on failure; then `*error`, if `error` is not NULL, is a text to be freed with `rp_text_free`.
/// `log` may be NULL.
///
/// # Safety
/// `settings` is a string that ends with a NUL. `error` is NULL or can be written to. `log` may be called with
/// `context` from another thread until `rp_proxy_stop` has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rp_client_start(
    settings: *const c_char,
    log: rp_log_callback,
    context: *mut c_void,
    error: *mut *mut c_char,
) -> *mut rp_proxy {
    // SAFETY: the caller's promises about `settings`, `log` and `context` are those of this function.
    let started = guarded(|| unsafe { start(Kind::Client, settings, log, context) });
    // SAFETY: the caller promises that `error` is NULL or can be written to.
    unsafe { hand_over(started, error) }
}

/// Starts a server, which dials for clients what they ask for. Returns as soon as its port listens.
///
/// `settings` is a JSON object:
///
/// - `"listen"`: UDP address of the port (default `"0.0.0.0:7377"`; port 0 for any that is free)
/// - `"identity"`: file with the server's private key, in OpenSSH format, not encrypted
/// - `"authorized-keys"`: list of the fingerprints of the keys that are let in: `["SHA256:..."]`
/// - `"allow"`: list of networks that may be dialled although they are not public: `["10.0.0.0/8"]`
/// - `"deny"`: list of networks that must not be dialled
/// - `"log"`: as for a client
///
/// Failure, `log`, `context` and `error` are as for `rp_client_start`.
///
/// # Safety
/// As for `rp_client_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rp_server_start(
    settings: *const c_char,
    log: rp_log_callback,
    context: *mut c_void,
    error: *mut *mut c_char,
) -> *mut rp_proxy {
    // SAFETY: the caller's promises about `settings`, `log` and `context` are those of this function.
    let started = guarded(|| unsafe { start(Kind::Server, settings, log, context) });
    // SAFETY: the caller promises that `error` is NULL or can be written to.
    unsafe { hand_over(started, error) }
}

/// The numbers of `proxy` at this moment, a JSON object, to be freed with `rp_text_free`; NULL if `proxy` is NULL.
///
/// - `"state"`: `"up"`, `"connecting"` (a client without a connection), `"serving"`, or `"ended"` after a fault
/// - `"listen"`: the address it listens on
/// - `"key"`: the fingerprint of its own key
/// - `"sent"`, `"received"`: bytes relayed from its TCP connections to the other side, and back
/// - `"connected"`, `"denied"`, `"failed"`, `"active"`: requests so far, and those that last (0 at a client)
///
/// # Safety
/// `proxy` is NULL or came from a start and was not stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rp_proxy_status(proxy: *const rp_proxy) -> *mut c_char {
    // SAFETY: the caller promises that it is NULL or points to a proxy that lives.
    let Some(proxy) = (unsafe { proxy.as_ref() }) else {
        return ptr::null_mut();
    };
    let status = guarded(|| Ok(proxy.running.status().to_string()));
    into_text(status.unwrap_or_else(|error| error.to_string()))
}

/// Stops `proxy`, waits until its thread has ended, and frees it. NULL is ignored. Connections that it carries are
/// reset.
///
/// # Safety
/// `proxy` is NULL or came from a start, was not stopped, and nobody uses it meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rp_proxy_stop(proxy: *mut rp_proxy) {
    if proxy.is_null() {
        return;
    }
    // SAFETY: it came from `Box::into_raw` in `hand_over`, and the caller promises that it was not stopped before.
    let proxy = unsafe { Box::from_raw(proxy) };
    // A panic in here has nobody to be told to; the proxy is gone either way.
    let _ = guarded(|| {
        proxy.running.stop();
        Ok(())
    });
}

/// Frees a text that a function of this library returned. NULL is ignored.
///
/// # Safety
/// `text` is NULL or came from this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rp_text_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it came from `CString::into_raw` in `into_text`, and the caller promises that it was not freed.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// The version of this library, as `"0.1.0"`. It is not freed.
#[unsafe(no_mangle)]
pub extern "C" fn rp_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// Which side is started.
#[derive(Clone, Copy)]
enum Kind {
    Client,
    Server,
}

/// # Safety
/// As for `rp_client_start`.
unsafe fn start(
    kind: Kind,
    settings: *const c_char,
    log: rp_log_callback,
    context: *mut c_void,
) -> Result<Running, StartError> {
    if settings.is_null() {
        return Err(StartError::Settings("no settings: NULL".to_owned()));
    }
    // SAFETY: it is not NULL, and the caller promises a string that ends with a NUL.
    let settings = unsafe { CStr::from_ptr(settings) };
    let settings = settings
        .to_str()
        .map_err(|error| StartError::Settings(format!("the settings are not UTF-8: {error}")))?;
    // SAFETY: the caller promises that `log` may be called with `context` from another thread until the proxy has been
    // stopped, and the target lives in the proxy's thread, which has ended then.
    let log = log.map(|log| unsafe { LogTarget::new(log, context) });
    match kind {
        Kind::Client => Running::client(settings::client(settings)?, log),
        Kind::Server => Running::server(settings::server(settings)?, log),
    }
}

/// # Safety
/// `error` is NULL or can be written to.
unsafe fn hand_over(
    started: Result<Running, StartError>,
    error: *mut *mut c_char,
) -> *mut rp_proxy {
    match started {
        Ok(running) => Box::into_raw(Box::new(rp_proxy { running })),
        Err(failure) => {
            if !error.is_null() {
                // SAFETY: it is not NULL, so the caller promises that it can be written to.
                unsafe { error.write(into_text(failure.to_string())) };
            }
            ptr::null_mut()
        }
    }
}

/// Does `work`; a panic in it is its failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, StartError>) -> Result<T, StartError> {
    // What a panic left half done is dropped with the failure, or the caller's to drop.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(StartError::Panic))
}

/// `text` as C owns it; what follows a NUL in it is lost.
fn into_text(text: String) -> *mut c_char {
    let mut bytes = text.into_bytes();
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default().into_raw()
}
