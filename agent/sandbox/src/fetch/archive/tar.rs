//! Tar archives, entry by entry.

use std::io::Read;

use tar::{Archive, EntryType, PaxExtensions};

use super::super::beneath::Beneath;
use super::super::budget::Budget;
use super::super::error::{BadEntry, Reason};
use super::{Entry, refuse};

/// Bytes of a long name or of an entry's extensions. The library would read them whole, however long they claim to be, so it
/// is asked for raw entries and they are read here.
const MAX_EXTENSION: u64 = 64 << 10;

/// What extension entries say about the next one.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// The size is given here, because it does not fit in the header.
    size: Option<u64>,
    sparse: bool,
}

pub(super) fn unpack(reader: impl Read, into: &mut Beneath, budget: &mut Budget) -> Result<(), Reason> {
    let damaged = |error: std::io::Error| Reason::Damaged(error.to_string());
    let mut archive = Archive::new(reader);
    let mut extensions = Extensions::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if extends(kind) {
            budget.entry()?;
            let mut content = Vec::new();
            if entry.size() > MAX_EXTENSION {
                return Err(refuse(b"(an extension)", BadEntry::Header));
            }
            entry.read_to_end(&mut content).map_err(damaged)?;
            extensions.read(kind, &content)?;
            continue;
        }
        let Extensions { path, link, size, sparse } = std::mem::take(&mut extensions);
        let path = path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        if sparse || kind.is_gnu_sparse() || size.is_some_and(|size| size != entry.size()) {
            return Err(refuse(&path, BadEntry::Sparse));
        }
        let target = link
            .or_else(|| entry.header().link_name_bytes().map(|name| name.into_owned()))
            .unwrap_or_default();
        let mode = entry.header().mode().unwrap_or(0o644);
        let named = Entry::new(&path, budget)?;
        match kind {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => {
                named.dir(into, mode | 0o700)?
            }
            EntryType::Regular | EntryType::Continuous => {
                let mut file = named.file(into, mode)?;
                budget.copy(&mut entry, &mut file, &named.shown())?;
            }
            EntryType::Directory => named.dir(into, mode)?,
            EntryType::Symlink => named.link(into, &target)?,
            EntryType::Link => named.hard_link(into, &target, budget.limits.path_bytes)?,
            _ => return Err(named.refuse(BadEntry::Special)),
        }
    }
    Ok(())
}

fn extends(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
}

impl Extensions {
    fn read(&mut self, kind: EntryType, content: &[u8]) -> Result<(), Reason> {
        let text = || content.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        if kind.is_gnu_longname() {
            self.path = Some(text());
        } else if kind.is_gnu_longlink() {
            self.link = Some(text());
        } else if kind.is_pax_local_extensions() {
            for record in PaxExtensions::new(content) {
                let record = record.map_err(|error| Reason::Damaged(error.to_string()))?;
                let value = || record.value_bytes().to_vec();
                match record.key_bytes() {
                    b"path" => self.path = Some(value()),
                    b"linkpath" => self.link = Some(value()),
                    b"size" => {
                        self.size =
                            Some(record.value().ok().and_then(|size| size.parse().ok()).unwrap_or(u64::MAX))
                    }
                    key if key.starts_with(b"GNU.sparse") => self.sparse = true,
                    // Times, owners and attributes are not taken over.
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
