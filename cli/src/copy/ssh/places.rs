//! At the far side: opens what the user named there, and says what requests call it. Nothing beyond these places can
//! be asked for.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    error::Error,
    glob::{self, is_pattern},
    message::Done,
    path::{Root, printable_path},
};

use super::greeting::{Place, Purpose};
use crate::copy::service::{Access, Shared};

/// Opens the places; gives what may be done there, and what each is called. One that cannot be opened is told of to
/// whoever asks for it.
///
/// `N` is the place of that number where it is a folder, and `N/name` what has or will have that name in the folder that
/// it is in.
pub(super) fn open(places: &[Place]) -> (Access, Vec<Vec<u8>>) {
    let opened = places.iter().enumerate().map(|(at, place)| {
        let (shared, beneath) = open_one(place);
        let path = match beneath.as_slice() {
            b"" => at.to_string().into_bytes(),
            name => [at.to_string().as_bytes(), b"/", name].concat(),
        };
        (shared, path)
    });
    let (shared, paths) = opened.unzip();
    (Access::places(shared), paths)
}

/// The folder of a place, and its path beneath that.
fn open_one(place: &Place) -> (Result<Shared, Done>, Vec<u8>) {
    let typed = match home(&place.path) {
        Ok(typed) => typed,
        Err(error) => return (Err(error.to_done()), b"-".to_vec()),
    };
    let is_pattern = is_pattern(typed.as_os_str().as_bytes()) && typed.symlink_metadata().is_err();
    let (folder, beneath) = match place.purpose {
        Purpose::Source if is_pattern => before_pattern(&typed),
        _ if typed.is_dir() && place.purpose != Purpose::Name => (typed.as_path(), Vec::new()),
        Purpose::Source => in_parent(&typed),
        Purpose::Target | Purpose::Name => in_existing(&typed),
    };
    let opened = match place.purpose {
        // What is read goes where this user sends it: links lead where they lead, as in scp.
        Purpose::Source => Root::open_trusted(folder),
        //= spec/20-copy.md#over-ssh
        //# What a client writes MUST stay beneath the folder that it named.
        Purpose::Target | Purpose::Name => Root::open(folder),
    };
    let shared = opened.map(|root| Shared {
        root: Arc::new(root),
        //= spec/20-copy.md#over-ssh
        //# A far side MUST NOT write beneath what the client named to read.
        is_writable: place.purpose != Purpose::Source,
    });
    let shown = || printable_path(folder.as_os_str().as_bytes());
    let shared = shared.map_err(|error| Error::io(shown(), error).to_done());
    (shared, beneath)
}

/// The path with `~` as a shell would have it.
fn home(path: &[u8]) -> Result<PathBuf, Error> {
    let typed = Path::new(OsStr::from_bytes(path));
    let Some(rest) = path.strip_prefix(b"~") else {
        return Ok(match path {
            b"" => PathBuf::from("."),
            _ => typed.to_owned(),
        });
    };
    match rest {
        // sshd starts us there; HOME is for whoever has another.
        b"" | [b'/', ..] => {
            let home = env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
            let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
            Ok(home.join(OsStr::from_bytes(&rest[slashes..])))
        }
        _ if typed.symlink_metadata().is_ok() => Ok(typed.to_owned()),
        _ => {
            let what = format!(
                "{}: only one's own ~ is understood; write the whole path",
                printable_path(path)
            );
            Err(Error::io(what, io::Error::from(io::ErrorKind::NotFound)))
        }
    }
}

/// The folder that `path` is in, and the name there; a path without a name is a folder that is not there.
fn in_parent(path: &Path) -> (&Path, Vec<u8>) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let mut beneath = name.as_bytes().to_vec();
            if path.as_os_str().as_bytes().ends_with(b"/") {
                beneath.push(b'/');
            }
            (or_here(parent), beneath)
        }
        _ => (path, Vec::new()),
    }
}

/// The folder before the first name that is a pattern, and the pattern.
fn before_pattern(path: &Path) -> (&Path, Vec<u8>) {
    let path = path.as_os_str().as_bytes();
    let (folder, pattern) = glob::split(path);
    let folder = match (folder, path.starts_with(b"/")) {
        (b"", true) => Path::new("/"),
        (folder, _) => or_here(Path::new(OsStr::from_bytes(folder))),
    };
    (folder, pattern.to_vec())
}

/// The nearest folder above `path` that is there, and the way from it: what is missing may have to be made.
fn in_existing(path: &Path) -> (&Path, Vec<u8>) {
    let (mut folder, mut beneath) = in_parent(path);
    while !folder.is_dir()
        && let (Some(parent), Some(name)) = (folder.parent(), folder.file_name())
    {
        beneath = [name.as_bytes(), b"/", &beneath].concat();
        folder = or_here(parent);
    }
    (folder, beneath)
}

fn or_here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rp_transfer::message::Status;

    use super::*;

    fn called(purpose: Purpose, path: &Path) -> (bool, String) {
        let (shared, beneath) = open_one(&Place {
            purpose,
            path: path.as_os_str().as_bytes().to_vec(),
        });
        (shared.is_ok(), String::from_utf8(beneath).unwrap())
    }

    #[test]
    fn a_place_is_the_folder_itself_or_a_name_in_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink(at("sub"), at("link")).unwrap();
        for (purpose, path, beneath) in [
            (Purpose::Source, "sub", ""),
            (Purpose::Source, "sub/", ""),
            (Purpose::Source, "link", ""),
            (Purpose::Source, "file", "file"),
            (Purpose::Source, "none/", "none/"),
            (Purpose::Source, "*/x", "*/x"),
            (Purpose::Source, "sub/[ab]", "[ab]"),
            (Purpose::Target, "sub", ""),
            (Purpose::Target, "link", ""),
            (Purpose::Target, "sub/new", "new"),
            (Purpose::Target, "sub/a/b/c", "a/b/c"),
            (Purpose::Target, "sub/a/", "a/"),
            (Purpose::Target, "file", "file"),
            (Purpose::Name, "sub", "sub"),
            (Purpose::Name, "link", "link"),
            (Purpose::Name, "sub/a/b", "a/b"),
        ] {
            let expected = (true, beneath.to_owned());
            assert_eq!(called(purpose, &at(path)), expected, "{purpose:?} {path}");
        }
        assert!(!called(Purpose::Source, &at("none/file")).0);
        assert_eq!(
            before_pattern(Path::new("/*")),
            (Path::new("/"), b"*".to_vec())
        );
        assert_eq!(
            before_pattern(Path::new("*")),
            (Path::new("."), b"*".to_vec())
        );
    }

    #[test]
    fn another_users_home_is_not_guessed() {
        let place = Place {
            purpose: Purpose::Source,
            path: b"~nobody-has-this-name/x".to_vec(),
        };
        let why = open_one(&place).0.map(|_| ()).unwrap_err();
        assert_eq!(why.status, Status::NotFound);
        assert!(why.text.contains("write the whole path"), "{}", why.text);
        assert_eq!(home(b"~").unwrap(), home(b"~/").unwrap().join(""));
    }
}
