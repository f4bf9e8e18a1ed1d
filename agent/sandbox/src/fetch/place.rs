//! Putting what was fetched into the sandbox.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::FetchItem;
use super::archive::{self, Kind};
use super::beneath::{Beneath, Inside};
use super::budget::Budget;
use super::error::Reason;
use crate::directory::{self, Owner};

/// The sandbox and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) sandbox: PathBuf,
    pub(super) user: Option<String>,
}

impl Target {
    /// Makes the sandbox. `Some` when what is written there must be given to another user.
    pub(super) fn prepare(&self) -> Result<Option<Owner>, Reason> {
        directory::prepare(&self.sandbox, self.user.as_deref())?;
        let owner = self.user.as_deref().map(directory::owner).transpose()?;
        Ok(owner.filter(|owner| owner.uid != nix::unistd::geteuid().as_raw()))
    }

    fn beneath(&self, owner: Option<Owner>) -> Result<Beneath, Reason> {
        Beneath::open(&self.sandbox, owner)
            .map_err(|source| Reason::Write { path: self.sandbox.display().to_string(), source })
    }

    /// A file in the sandbox to download into: on the same file system, so that it can be renamed.
    pub(super) fn temporary(&self, owner: Option<Owner>) -> Result<(Inside, File), Reason> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = format!(".fetch-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = Inside::parse(name.as_bytes(), name.len()).unwrap_or_default();
        match self.beneath(owner)?.make_file(&path, 0o600) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(Reason::Write { path: name, source }),
        }
    }
}

/// What was fetched.
pub(super) enum Content {
    /// A file elsewhere, to be copied.
    Lent(File),
    /// A file in the sandbox under a temporary name, to be renamed; removed otherwise.
    Own { file: File, temporary: Inside, target: Target, owner: Option<Owner> },
}

impl Content {
    fn file(&self) -> &File {
        match self {
            Self::Lent(file) | Self::Own { file, .. } => file,
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Self::Own { temporary, target, owner, .. } = self
            && let Ok(mut beneath) = target.beneath(*owner)
        {
            // Not there any more when it has been renamed.
            let _ = beneath.remove(temporary);
        }
    }
}

/// Where one item goes, and how.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) path: Inside,
    pub(super) owner: Option<Owner>,
    pub(super) target: Target,
    pub(super) item: FetchItem,
}

impl Place {
    pub(super) fn put(&self, content: Content, mut budget: Budget) -> Result<(), Reason> {
        let mut file = content.file().try_clone().map_err(Reason::Read)?;
        file.seek(SeekFrom::Start(0)).map_err(Reason::Read)?;
        let mut beneath = self.target.beneath(self.owner)?;
        match self.kind(&mut file)? {
            Some(kind) => archive::unpack(file, kind, &self.name, &mut beneath, &mut budget),
            None => self.store(&content, file, &mut beneath, &mut budget),
        }
    }

    /// What it is to be unpacked as, if it is.
    fn kind(&self, file: &mut File) -> Result<Option<Kind>, Reason> {
        if !self.item.extract || self.item.executable {
            return Ok(None);
        }
        let named = archive::named_like_archive(&self.name);
        if named == Some(false) {
            return Ok(None);
        }
        match (archive::detect(file).map_err(Reason::Read)?, named) {
            (None, Some(true)) => Err(Reason::NotArchive),
            // Without an ending in its name it is not certain that it is to be unpacked; what cannot be, is kept.
            (Some(Kind::Unsupported(_) | Kind::Gz), None) => Ok(None),
            (kind, _) => Ok(kind),
        }
    }

    fn store(
        &self,
        content: &Content,
        mut file: File,
        beneath: &mut Beneath,
        budget: &mut Budget,
    ) -> Result<(), Reason> {
        let failed = |source| Reason::Write { path: self.path.display(), source };
        let mode = if self.item.executable { 0o755 } else { 0o644 };
        match content {
            Content::Own { temporary, .. } => {
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
                beneath.rename(temporary, &self.path).map_err(failed)
            }
            Content::Lent(_) => {
                let size = file.metadata().map_err(Reason::Read)?.len();
                if size > budget.limits.file_bytes {
                    return Err(Reason::TooLarge(budget.limits.file_bytes));
                }
                let mut to = beneath.make_file(&self.path, mode).map_err(failed)?;
                budget.copy(&mut file, &mut to, &self.path.display())
            }
        }
    }
}
