//! Logs: standard error and, if wished, a file; one line an event, level from `STOA_LOG` or an operator's call.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::reload::Handle;

/// How a line looks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// At so many bytes a log file is put aside, and the one put aside before it is gone.
const FILE_BYTES: u64 = 64 << 20;

/// Changes what is logged from now on.
static SET_LEVEL: OnceLock<Box<dyn Fn(u32) + Send + Sync>> = OnceLock::new();

/// Starts logging for this process. A filter that does not parse or a file that cannot be written is an error of
/// configuration, told in a sentence.
pub(crate) fn start(format: LogFormat, file: Option<&Path>) -> Result<(), String> {
    let filter = filter()?;
    let writer = match file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => {
            let lines =
                LogFile::open(path).map_err(|error| format!("--log-file {}: {error}", path.display()))?;
            BoxMakeWriter::new(io::stderr.and(lines))
        }
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // A line that cannot be written is lost. To tell of that on standard error panics when that is what fails: a full
        // disk, or a log's reader that is gone, would end the process.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let ansi = file.is_none() && io::stderr().is_terminal();
            let lines = lines.with_ansi(ansi).with_filter_reloading();
            keep(lines.reload_handle());
            lines.init();
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            keep(lines.reload_handle());
            lines.init();
        }
    }
    Ok(())
}

/// Remembers where the level is changed. The type of the place depends on how a line looks, which is hidden here.
fn keep<S: 'static>(handle: Handle<EnvFilter, S>) {
    let set = move |level| {
        // It parsed when this process started.
        let Ok(at_start) = filter() else { return };
        let filter = match level {
            0 => at_start,
            1 => EnvFilter::new("debug"),
            _ => EnvFilter::new("trace"),
        };
        // Gone only when the process ends.
        let _ = handle.reload(filter);
    };
    // Set once: a process starts its log once.
    let _ = SET_LEVEL.set(Box::new(set));
}

/// Writes a line for people to standard error. One that cannot be written is lost, where `eprintln!` would panic.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Makes the log say more: 0 what `STOA_LOG` asks for, 1 `debug`, 2 and above `trace`.
pub(crate) fn set_level(level: u32) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

fn filter() -> Result<EnvFilter, String> {
    let wanted = std::env::var("STOA_LOG").unwrap_or_else(|_| "info".to_owned());
    if let Some(word) = no_level(&wanted) {
        return Err(format!(
            "STOA_LOG is `{wanted}`: `{word}` must be error, warn, info, debug, trace or off, or of the form MODULE=LEVEL"
        ));
    }
    EnvFilter::try_new(&wanted).map_err(|error| format!("STOA_LOG is `{wanted}`: {error}"))
}

/// A part of a filter that is a word and no level. It would be taken for the name of a module whose lines are all that is
/// logged: of a level that is mistyped, none.
fn no_level(filter: &str) -> Option<&str> {
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    filter.split(',').map(str::trim).filter(word).find(|part| part.parse::<LevelFilter>().is_err())
}

/// A log file of bounded size.
struct LogFile {
    path: PathBuf,
    /// The file and how much is in it. A line is short, and lines come one after the other anyway.
    open: Mutex<(File, u64)>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), open: Mutex::new((file, size)) })
    }

    /// Puts the file aside and begins another.
    fn turn(&self) -> io::Result<File> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        std::fs::rename(&self.path, aside)?;
        File::options().create(true).append(true).open(&self.path)
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock().map_err(|_| io::Error::other("a thread died while it logged"))?;
        let (file, size) = &mut *open;
        if *size + line.len() as u64 > FILE_BYTES {
            *file = self.turn()?;
            *size = 0;
        }
        file.write_all(line)?;
        *size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_of_a_filter_is_a_level() {
        for fine in ["info", "WARN", "off", "3", "", "info,replica=debug", "debug, [span]=info", "info,"] {
            assert_eq!(no_level(fine), None, "{fine}");
        }
        assert_eq!(no_level("loud"), Some("loud"));
        assert_eq!(no_level("replica=debug,inof"), Some("inof"));
    }

    #[test]
    fn a_log_file_goes_on_where_it_was_and_stays_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").expect("written");
        let log = LogFile::open(&path).expect("opened");
        (&log).write_all(b"after\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "before\nafter\n");
        log.open.lock().expect("free").1 = FILE_BYTES;
        (&log).write_all(b"anew\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "anew\n");
        let aside = folder.path().join("log.1");
        assert_eq!(std::fs::read_to_string(aside).expect("read"), "before\nafter\n");
    }
}
