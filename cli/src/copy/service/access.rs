//! What a client of the copy service may touch. What it does there is told in `service`.

use std::{io, path::Path, sync::Arc, time::Duration};

use rp_transfer::{
    error::Error,
    message::{Done, Status},
    path::{RemotePath, Root, printable_path},
    xattrs::Privilege,
};

use crate::{copy::SILENCE, file_threads::FileThreads};

/// What a client may do here.
#[derive(Clone, Debug)]
pub struct Access {
    roots: Roots,
    is_read_only: bool,
    pub(super) silence: Duration,
    pub(super) is_anonymous: bool,
    pub(super) privilege: Privilege,
}

/// Where a client's paths begin.
#[derive(Clone, Debug)]
enum Roots {
    Nowhere,
    /// At this folder.
    One(Arc<Root>),
    /// Each with the number of one of these.
    Places(Arc<[Result<Shared, Done>]>),
}

/// A folder of several.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The folder.
    pub root: Arc<Root>,
    /// Whether anything may be changed in it.
    pub is_writable: bool,
}

impl Access {
    /// No files at all.
    pub fn none() -> Self {
        Self {
            roots: Roots::Nowhere,
            is_read_only: true,
            silence: SILENCE,
            is_anonymous: false,
            privilege: Privilege::Guest,
        }
    }

    /// The files beneath the folder `root`.
    ///
    /// # Errors
    /// There is no such folder, or it may not be opened.
    pub fn beneath(root: &Path, read_only: bool) -> Result<Self, Error> {
        let opened = Root::open(root).map_err(|error| Error::io(root.display(), error))?;
        Ok(Self {
            roots: Roots::One(Arc::new(opened)),
            is_read_only: read_only,
            silence: SILENCE,
            is_anonymous: false,
            privilege: Privilege::Guest,
        })
    }

    /// The files beneath several folders: a path begins with the number of one of them. Whoever asks for one that could
    /// not be opened is told why.
    pub fn places(places: Vec<Result<Shared, Done>>) -> Self {
        Self {
            roots: Roots::Places(places.into()),
            is_read_only: false,
            silence: SILENCE,
            is_anonymous: false,
            privilege: Privilege::Guest,
        }
    }

    /// How long a client may do nothing while it is its turn, before its request is ended. Default
    /// 30 s: an honest client that is busy says so every 10 s.
    #[must_use]
    pub fn silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Whether the client's key means nothing: it then shares what it may take with all others like it.
    #[must_use]
    pub fn anonymous(self, is_anonymous: bool) -> Self {
        Self {
            is_anonymous,
            ..self
        }
    }

    /// Of whose words modes and extended attributes are kept. Default a guest's: a server that runs as root gives
    /// nobody else root's rights.
    #[must_use]
    pub fn privilege(self, privilege: Privilege) -> Self {
        Self { privilege, ..self }
    }

    /// Has the threads that work on files touch what this client may, and nothing else but what others may.
    pub(super) fn allow(&self, threads: &FileThreads) {
        match &self.roots {
            Roots::Nowhere => {}
            Roots::One(root) => threads.allow(&**root, !self.is_read_only),
            Roots::Places(places) => {
                for shared in places.iter().flatten() {
                    match shared.is_writable {
                        true => threads.allow(&*shared.root, true),
                        // Links lead anywhere there.
                        false => threads.allow_reading(),
                    }
                }
            }
        }
    }

    /// Whether anything may be changed.
    pub(super) fn is_writable(&self) -> bool {
        !self.is_read_only && !matches!(self.roots, Roots::Nowhere)
    }

    /// Where `path` leads, for somebody who reads there.
    pub(super) fn readable(&self, path: &[u8]) -> Result<(Arc<Root>, RemotePath), Error> {
        let (shared, path) = self.resolve(path)?;
        Ok((shared.root, path))
    }

    /// Where `path` leads, for somebody who may change what is there.
    pub(super) fn writable(&self, path: &[u8]) -> Result<(Arc<Root>, RemotePath), Error> {
        let (shared, beneath) = self.resolve(path)?;
        match shared.is_writable && !self.is_read_only {
            true => Ok((shared.root, beneath)),
            false => Err(Error::ReadOnly(printable_path(path))),
        }
    }

    fn resolve(&self, path: &[u8]) -> Result<(Shared, RemotePath), Error> {
        match &self.roots {
            Roots::Nowhere => Err(no_files(path)),
            Roots::One(root) => {
                let shared = Shared {
                    root: Arc::clone(root),
                    is_writable: true,
                };
                Ok((shared, RemotePath::parse_named(path)?))
            }
            Roots::Places(places) => {
                let slash = path.iter().position(|&byte| byte == b'/');
                let (number, beneath) = match slash {
                    Some(at) => (&path[..at], &path[at + 1..]),
                    None => (path, &[][..]),
                };
                let number = str::from_utf8(number).ok().and_then(|n| n.parse().ok());
                //= spec/20-copy.md#over-ssh
                //# The far side MUST refuse a path that is not in one of the places.
                let place = number.and_then(|number: usize| places.get(number));
                let shared = place.ok_or_else(unknown)?.clone();
                let shared = shared.map_err(Error::Peer)?;
                Ok((shared, RemotePath::parse_named(beneath)?))
            }
        }
    }
}

fn no_files(path: &[u8]) -> Error {
    let error = io::Error::from(io::ErrorKind::PermissionDenied);
    Error::io(
        format!("{}: this server shares no files", printable_path(path)),
        error,
    )
}

/// What is said to a request for a place that there is not.
fn unknown() -> Error {
    Error::Peer(Done {
        status: Status::Permission,
        text: "only what was named when the copy began can be asked for".to_owned(),
    })
}

/// Says what a client may do; it is asked anew for each request.
pub trait AccessCheck: Send + Sync + 'static {
    /// What the client may do at present. `None` if it may not be here any more; whoever says so
    /// closes the connection.
    fn access(&self) -> Option<Access>;
}

impl AccessCheck for Access {
    /// Always the same.
    fn access(&self) -> Option<Self> {
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_beneath_several_places_begin_with_the_number_of_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        let shared = |is_writable| {
            Ok(Shared {
                root: Arc::new(Root::open(folder.path()).unwrap()),
                is_writable,
            })
        };
        let why = Done {
            status: Status::NotFound,
            text: "gone".to_owned(),
        };
        let access = Access::places(vec![shared(false), shared(true), Err(why)]);
        for (path, beneath) in [
            (&b"0/file"[..], &b"file"[..]),
            (b"1/a/b", b"a/b"),
            (b"1", b""),
        ] {
            let (_, found) = access.readable(path).unwrap();
            assert_eq!(found.to_bytes(), beneath);
        }
        assert!(access.writable(b"1/file").is_ok());
        //= spec/20-copy.md#over-ssh
        //= type=test
        //# A far side MUST NOT write beneath what the client named to read.
        let error = access.writable(b"0/file").unwrap_err();
        assert_eq!(error.status(), Status::Permission);
        let error = access.readable(b"2/x").unwrap_err();
        assert_eq!(
            (error.status(), error.reason()),
            (Status::NotFound, "gone".to_owned())
        );
        //= spec/20-copy.md#over-ssh
        //= type=test
        //# The far side MUST refuse a path that is not in one of the places.
        for path in [
            &b""[..],
            b"/",
            b"3/x",
            b"-1/x",
            b"file",
            b"0x/file",
            b"1\xff",
        ] {
            let error = access.readable(path).unwrap_err();
            assert_eq!(error.status(), Status::Permission, "{path:?}");
        }
        let error = access.readable(b"1/../x").unwrap_err();
        assert_eq!(error.status(), Status::BadPath);
    }
}
