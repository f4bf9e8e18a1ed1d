//! What a command prints. `println!` panics when nobody reads on, as after `| head`.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Prints a line; see [`write`].
macro_rules! outln {
    () => { $crate::command::out::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::command::out::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a text. A reader that has seen enough ends the command in silence, and with success.
pub(super) fn write(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        give_up(&error);
    }
}

fn give_up(error: &io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    crate::logs::say(format_args!("stoa: standard output cannot be written: {error}"));
    std::process::exit(1);
}
