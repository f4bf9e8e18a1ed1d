//! Zip archives, entry by entry.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::super::beneath::Beneath;
use super::super::budget::Budget;
use super::super::error::{BadEntry, Reason};
use super::{Entry, refuse};

/// The file type bits of a Unix mode, and those that matter.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// Bytes of a symbolic link's target; `PATH_MAX` of Linux.
const MAX_TARGET: u64 = 4096;

/// Where the directory's own size may stand: in the last bytes of the file, before a comment of at most 64 KiB.
const TAIL: u64 = (1 << 16) + 256;

pub(super) fn unpack(mut file: File, into: &mut Beneath, budget: &mut Budget) -> Result<(), Reason> {
    let announced = announced_entries(&mut file).map_err(Reason::Read)?;
    if announced > budget.limits.unpacked_entries {
        return Err(Reason::Entries(budget.limits.unpacked_entries));
    }
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(damaged)?;
    for at in 0..archive.len() {
        // Raw first: an encrypted entry cannot even be opened otherwise.
        let (name, encrypted) = {
            let raw = archive.by_index_raw(at).map_err(damaged)?;
            (raw.name_raw().to_vec(), raw.encrypted())
        };
        if encrypted {
            return Err(refuse(&name, BadEntry::Encrypted));
        }
        let mut entry = archive.by_index(at).map_err(damaged)?;
        let named = Entry::new(&name, budget)?;
        let mode = entry.unix_mode();
        match mode.map_or(0, |mode| mode & TYPE) {
            _ if name.ends_with(b"/") => named.dir(into, mode.unwrap_or(0o755))?,
            DIRECTORY => named.dir(into, mode.unwrap_or(0o755))?,
            SYMBOLIC_LINK => {
                let mut target = Vec::new();
                entry
                    .by_ref()
                    .take(MAX_TARGET + 1)
                    .read_to_end(&mut target)
                    .map_err(|error| Reason::Damaged(error.to_string()))?;
                if target.len() as u64 > MAX_TARGET {
                    return Err(named.refuse(BadEntry::SymbolicLink));
                }
                named.link(into, &target)?;
            }
            // No type at all: made on a system that has none.
            REGULAR | 0 => {
                let mut to = named.file(into, mode.filter(|mode| mode & 0o777 != 0).unwrap_or(0o644))?;
                budget.copy(&mut entry, &mut to, &named.shown())?;
            }
            _ => return Err(named.refuse(BadEntry::Special)),
        }
    }
    Ok(())
}

fn damaged(error: ZipError) -> Reason {
    Reason::Damaged(error.to_string())
}

/// The largest number of entries that any end-of-directory record announces, since the library makes a table of so many before
/// anybody can look at the first.
fn announced_entries(file: &mut File) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.by_ref().take(TAIL).read_to_end(&mut tail)?;
    file.rewind()?;
    let mut most = 0;
    for at in 0..tail.len() {
        let rest = &tail[at..];
        if rest.starts_with(b"PK\x05\x06") {
            most = most
                .max(rest.get(10..12).map_or(0, |bytes| u64::from(u16::from_le_bytes([bytes[0], bytes[1]]))));
        } else if rest.starts_with(b"PK\x06\x06") {
            most = most.max(
                rest.get(32..40).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default())),
            );
        }
    }
    Ok(most)
}
