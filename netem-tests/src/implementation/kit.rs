//! What implementations are made of: programs found, installed by package name or built, keys, content. Nothing
//! is installed before somebody asks for it.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::{
    content::Content,
    keys::Keys,
    leftovers::make_memory_folder,
    programs::{self, Programs},
};

/// Somebody else may be installing something.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";

/// What the file to send is called.
pub(super) const SOURCE: &str = "source.bin";

/// A package of the package registry, pinned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// The program that is there when it is installed.
    pub(super) program: &'static str,
    /// Instead of its default ones.
    pub(super) features: Option<&'static str>,
}

/// Everything an implementation may need, made once for a run of the lab.
#[derive(Debug)]
pub struct Kit {
    folder: TempDir,
    lab: PathBuf,
    given: Option<PathBuf>,
    programs: OnceCell<Programs>,
    keys: OnceCell<Keys>,
    /// Digests of the files made so far, by their length.
    sources: RefCell<BTreeMap<u64, blake3::Hash>>,
    is_offline: bool,
}

impl Kit {
    /// `given` has our programs ready-made; they are built if it is absent. With `is_offline` nothing is
    /// installed.
    ///
    /// # Errors
    /// There is no room for temporary files.
    pub fn new(given: Option<PathBuf>, is_offline: bool) -> anyhow::Result<Self> {
        Ok(Self {
            folder: make_memory_folder().context("cannot make a temporary folder")?,
            lab: env::current_exe().context("cannot find this program")?,
            given,
            programs: OnceCell::new(),
            keys: OnceCell::new(),
            sources: RefCell::default(),
            is_offline,
        })
    }

    /// Where our own programs are, once they are there.
    ///
    /// # Errors
    /// They do not build, or are not where they were said to be.
    pub fn programs_folder(&self) -> anyhow::Result<PathBuf> {
        let programs = self.programs()?;
        let folder = programs.rpcp.parent().unwrap_or_else(|| Path::new("/"));
        folder
            .canonicalize()
            .with_context(|| format!("cannot find {}", folder.display()))
    }

    /// In memory, until the kit is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// This very program, which has ends for TCP and HTTP in it.
    pub(crate) fn lab(&self) -> &Path {
        &self.lab
    }

    /// Our own programs.
    pub(crate) fn programs(&self) -> anyhow::Result<&Programs> {
        if let Some(programs) = self.programs.get() {
            return Ok(programs);
        }
        let programs = match &self.given {
            Some(folder) => Programs::in_folder(folder),
            None => programs::build()?,
        };
        ensure!(
            programs.rpcp.is_file() && programs.rpserver.is_file(),
            "{} is not there",
            programs.rpcp.display()
        );
        Ok(self.programs.get_or_init(|| programs))
    }

    /// Keys for our own programs.
    pub(crate) fn keys(&self) -> anyhow::Result<&Keys> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = Keys::make(self.folder.path())?;
        Ok(self.keys.get_or_init(|| keys))
    }

    /// A file of that many bytes that do not compress, and its digest.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn source(&self, bytes: u64) -> anyhow::Result<(PathBuf, blake3::Hash)> {
        let path = self
            .folder
            .path()
            .join(format!("content-{bytes}"))
            .join(SOURCE);
        if let Some(digest) = self.sources.borrow().get(&bytes) {
            return Ok((path, *digest));
        }
        let content = Content::generate(bytes);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, content.bytes())
            .with_context(|| format!("cannot write {bytes} bytes to send"))?;
        self.sources.borrow_mut().insert(bytes, content.digest());
        Ok((path, content.digest()))
    }

    /// A file of that many zeros that takes no room, for those whose bytes nobody compares.
    pub(crate) fn zeros(&self, bytes: u64) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(format!("zeros-{bytes}"));
        fs::create_dir_all(&folder)?;
        let path = folder.join(SOURCE);
        fs::File::create(&path)?.set_len(bytes)?;
        Ok(path)
    }

    /// What `program` says, in one line.
    pub(super) fn said_by(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        let program = program.as_ref();
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", Path::new(program).display()))?;
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both);
        let line = text.lines().find(|line| !line.trim().is_empty());
        let words: Vec<&str> = line
            .unwrap_or("says no version")
            .split_whitespace()
            .collect();
        Ok(words.join(" "))
    }

    /// Installs a Debian package unless `file`, which it brings, is there.
    pub(crate) fn debian(&self, package: &str, file: &str) -> anyhow::Result<()> {
        if Path::new(file).exists() {
            return Ok(());
        }
        ensure!(!self.is_offline, "not installed (Debian package {package})");
        ensure!(
            rustix::process::geteuid().is_root(),
            "the Debian package {package} is not installed, and installing it needs root"
        );
        // Lists may never have been fetched on a fresh machine; a failure shows in what follows.
        let _ = quiet("apt-get", &["update"]);
        let install = [
            "-o",
            LOCK_TIMEOUT,
            "install",
            "-y",
            "--no-install-recommends",
            package,
        ];
        quiet("apt-get", &install).with_context(|| format!("cannot install {package}"))?;
        ensure!(
            Path::new(file).exists(),
            "the Debian package {package} brought no {file}"
        );
        Ok(())
    }

    /// Installs those of the Debian packages that are missing.
    ///
    /// # Errors
    /// One cannot be installed, or nothing may be.
    pub(crate) fn debian_packages<'a>(
        &self,
        packages: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<()> {
        let missing: Vec<_> = packages.filter(|name| !is_installed(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.join(", ");
        ensure!(!self.is_offline, "not installed (Debian packages {names})");
        let _ = quiet("apt-get", &["update"]);
        let install = [
            "-o",
            LOCK_TIMEOUT,
            "install",
            "-y",
            "--no-install-recommends",
        ];
        quiet("apt-get", &[&install[..], &missing[..]].concat())
            .with_context(|| format!("cannot install {names}"))
    }

    /// Installs the browser that pages are looked at with.
    ///
    /// # Errors
    /// It cannot be installed, or nothing may be.
    pub fn install_chromium(&self) -> anyhow::Result<()> {
        self.debian("chromium", "/usr/bin/chromium")
    }

    /// What Debian calls the version of an installed package.
    pub(crate) fn debian_version(&self, package: &str) -> anyhow::Result<String> {
        let format = "${Package} ${Version}";
        self.said_by("dpkg-query", &["--show", "--showformat", format, package])
    }

    /// Builds a program of the package registry into a folder of its own beside the other implementations.
    pub(super) fn registry(&self, package: &Registered) -> anyhow::Result<()> {
        if self.registered(package).is_file() {
            return Ok(());
        }
        let Registered { name, version, .. } = package;
        ensure!(!self.is_offline, "not installed (cargo install {name})");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = self.implementations_dir().join(name);
        let (root, build) = (
            root.to_string_lossy(),
            self.implementations_dir().join("build"),
        );
        let install = ["install", "--locked", "--quiet", name, "--version", version];
        let places = ["--root", &root, "--target-dir", &build.to_string_lossy()];
        let features = package
            .features
            .map(|f| ["--no-default-features", "--features", f]);
        let features = features.iter().flatten().copied();
        let arguments: Vec<&str> = install.into_iter().chain(places).chain(features).collect();
        quiet(&cargo.to_string_lossy(), &arguments)
    }

    /// Where [`Kit::registry`] puts it.
    pub(super) fn registered(&self, package: &Registered) -> PathBuf {
        let root = self.implementations_dir().join(package.name);
        root.join("bin").join(package.program)
    }

    /// Runs a program that is of no interest unless it fails.
    pub(super) fn quiet(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        quiet(program, arguments)
    }

    /// Where implementations that are built end up: beside this program's own folder, or where that would be if
    /// this program has been copied to another place.
    pub(crate) fn implementations_dir(&self) -> PathBuf {
        target_of(&self.lab).join("implementations")
    }

    /// Compiles a file of `netem-tests/implementations`, unless its program is newer.
    pub(super) fn compile(
        &self,
        source: &str,
        program: &Path,
        link: &[&str],
    ) -> anyhow::Result<()> {
        let source = implementations_source().join(source);
        let changed = |path: &Path| fs::metadata(path)?.modified();
        if let (Ok(of_source), Ok(of_program)) = (changed(&source), changed(program))
            && of_program >= of_source
        {
            return Ok(());
        }
        fs::create_dir_all(self.implementations_dir())?;
        let mut arguments = vec!["-O2", "-std=c++17", "-Wall", "-pthread", "-o"];
        let (program, source) = (program.to_string_lossy(), source.to_string_lossy());
        arguments.extend([&*program, &*source]);
        arguments.extend(link);
        quiet("g++", &arguments)
    }

    /// Builds the Rust package in `netem-tests/implementations`.
    pub(super) fn build_implementation(&self) -> anyhow::Result<()> {
        let program = self.implementations_dir().join("release/quinn-peer");
        if self.is_offline && program.is_file() {
            return Ok(());
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let (manifest, target) = (
            implementations_source().join("Cargo.toml"),
            self.implementations_dir(),
        );
        quiet(
            &cargo.to_string_lossy(),
            &[
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--manifest-path",
                &manifest.to_string_lossy(),
                "--target-dir",
                &target.to_string_lossy(),
            ],
        )
    }
}

/// The folder that `program` was built in.
fn target_of(program: &Path) -> PathBuf {
    // From target/release/lab, or target/debug/deps/... in a test.
    let built = program.ancestors().find(|folder| {
        folder
            .file_name()
            .is_some_and(|name| name == "release" || name == "debug")
    });
    match built.and_then(Path::parent) {
        Some(target) => target.to_owned(),
        None => env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        ),
    }
}

fn implementations_source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("implementations")
}

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat", "${db:Status-Status}", package];
    let output = Command::new("dpkg-query").args(query).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

/// Runs a program that is of no interest unless it fails; the error ends with its last line.
fn quiet(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    bail!("{program} failed: {}", last.unwrap_or("it did not say why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_copied_finds_what_was_built_beside_its_original() {
        let target = |program: &str| target_of(Path::new(program));
        assert_eq!(target("/x/target/release/lab"), Path::new("/x/target"));
        assert_eq!(target("/x/out/debug/deps/lab-1"), Path::new("/x/out"));
        let copied = target("/somewhere/else/lab");
        assert!(copied.is_absolute(), "{}", copied.display());
    }
}
