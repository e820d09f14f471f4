//! The file a running program listens on: where it lies, who may use it, and what becomes of one that a
//! killed program left. What is said over it is in `message`.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
};
use thiserror::Error;
use tokio::net::UnixListener;
use tracing::warn;

use crate::{exit_code::Failure, guarded_file};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// How often, and how long apart, the folder's lock is tried: it is held for a few system calls.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How the names of sockets in the usual folder begin, and how they end.
const PROGRAMS: [&str; 2] = ["rpclient-", "rpserver-"];
const SUFFIX: &str = ".sock";

/// Why a program has no control socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A running program has it.
    #[error("a running program listens on it")]
    InUse,
    /// Something lies there that no program of ours left.
    #[error("there is a file there which is no socket")]
    NotASocket,
    /// Others could put their own in its place.
    #[error(transparent)]
    Unsafe(#[from] guarded_file::GuardError),
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for ControlError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Where a program's control socket is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the runtime folder, named after the program and the address it listens on.
    Usual,
    /// Here.
    Named(PathBuf),
    /// Nowhere.
    Off,
}

impl Place {
    /// What `--control` says: a path, `off`, or nothing.
    pub fn from_option(option: Option<&Path>) -> Self {
        match option {
            None => Self::Usual,
            Some(path) if path == "off" => Self::Off,
            Some(path) => Self::Named(path.to_owned()),
        }
    }
}

/// The folder of the sockets of this user's programs: systemd's for a unit, the session's, the system's
/// for root. `None` if there is none, and then a program has no socket unless it is told where.
pub fn runtime_folder() -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    let (unit, session) = (
        env::var_os("RUNTIME_DIRECTORY"),
        env::var_os("XDG_RUNTIME_DIR"),
    );
    folder_from(unit, session, is_root)
}

pub(super) fn folder_from(
    unit: Option<OsString>,
    session: Option<OsString>,
    is_root: bool,
) -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    // A unit may have several, joined by colons, and then we do not know which is ours.
    if let Some(unit) = unit.and_then(absolute)
        && !unit.as_os_str().as_encoded_bytes().contains(&b':')
    {
        return Some(unit);
    }
    if is_root {
        return Some("/run/rapidpath".into());
    }
    Some(session.and_then(absolute)?.join("rapidpath"))
}

/// The path of the socket of the instance of `program` that listens on `local`.
pub(super) fn usual_path(folder: &Path, program: &str, local: &str) -> PathBuf {
    folder.join(format!("{program}-{}{SUFFIX}", local.replace('/', "_")))
}

/// The socket of a running program; dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, by which it is known again.
    file: (u64, u64),
}

impl ControlSocket {
    /// The socket of the instance of `program` that listens on `local`; `None` if it is to have none, or
    /// none can be had in the usual place: without it everything else works. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// The place was named, and it cannot be made there or a running program has it.
    pub fn open(place: &Place, program: &str, local: SocketAddr) -> Result<Option<Self>, Failure> {
        let path = match place {
            Place::Off => return Ok(None),
            Place::Named(path) => path.clone(),
            Place::Usual => match runtime_folder() {
                Some(folder) => usual_path(&folder, program, &local.to_string()),
                None => return Ok(None),
            },
        };
        let bound = match place {
            Place::Usual => Self::bind_after(&path, remove_abandoned),
            _ => Self::bind(&path),
        };
        match bound {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if *place == Place::Usual => {
                let path = path.display();
                warn!(%path, %error, "no control socket: commands do not reach this instance");
                Ok(None)
            }
            Err(error) => {
                let path = path.display();
                Err(Failure::other(format!("--control {path}: {error}")))
            }
        }
    }

    /// Listens on `path`, for this user and root only. One that a killed program left is replaced. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// A running program has it, others could replace it, or it cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        Self::bind_after(path, |_folder| ())
    }

    /// The same after `tidy` of the folder, whose lock is held then.
    fn bind_after(path: &Path, tidy: impl FnOnce(&Path)) -> Result<Self, ControlError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        guarded_file::check_way(parent)?;
        // Two programs that start together must not both find the file stale.
        let folder = File::open(parent)?;
        lock(&folder)?;
        tidy(parent);
        remove_stale(path)?;
        let socket = socket()?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        // Nobody can connect until it listens, and then the mode is right.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listen(&socket, BACKLOG)?;
        let metadata = fs::symlink_metadata(path)?;
        drop(folder);
        Ok(Self {
            listener: UnixListener::from_std(StdListener::from(socket))?,
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn socket() -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn lock(folder: &File) -> Result<(), Errno> {
    for _ in 1..LOCK_ATTEMPTS {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            result => return result,
        }
    }
    flock(folder, FlockOperation::NonBlockingLockExclusive)
}

/// Makes room at `path`, unless a program listens there.
fn remove_stale(path: &Path) -> Result<(), ControlError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(ControlError::NotASocket);
    }
    if is_live(path)? {
        return Err(ControlError::InUse);
    }
    Ok(fs::remove_file(path)?)
}

/// Removes what programs that were killed have left in the folder of sockets: each has a name of its own, by
/// the port it listened on, and nobody would come to replace it.
pub(super) fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours =
            PROGRAMS.iter().any(|program| name.starts_with(program)) && name.ends_with(SUFFIX);
        if is_ours {
            // One that is in use, or is no socket, stays.
            let _ = remove_stale(&entry.path());
        }
    }
}

/// Whether a program listens at `path`.
pub(super) fn is_live(path: &Path) -> Result<bool, Errno> {
    match connect(socket()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        // Its queue may be full, or it is another user's.
        Ok(()) | Err(Errno::AGAIN | Errno::ACCESS) => Ok(true),
        Err(error) => Err(error),
    }
}
