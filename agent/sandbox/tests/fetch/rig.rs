//! A sandbox to fetch into, a server to fetch from, and archives of every kind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::fetch::{FetchError, FetchItem, FetchLimits, FetchRequest, Fetcher};
use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(crate) struct Rig {
    pub(crate) home: tempfile::TempDir,
    pub(crate) sandbox: PathBuf,
    pub(crate) limits: FetchLimits,
    pub(crate) user: Option<String>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let sandbox = home.path().join("sandbox");
        Self { home, sandbox, limits: FetchLimits::default(), user: None }
    }

    pub(crate) fn request(&self, items: Vec<FetchItem>) -> FetchRequest {
        FetchRequest { items, sandbox: self.sandbox.clone(), user: self.user.clone() }
    }

    pub(crate) async fn fetch(&self, item: FetchItem) -> Result<(), FetchError> {
        Fetcher::new(self.limits, None).unwrap().fetch(self.request(vec![item]), |_| {}).await
    }

    /// Fetches a file with this content by its path.
    pub(crate) async fn unpack(&self, name: &str, content: &[u8]) -> Result<(), String> {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        let uri = path.to_str().unwrap().to_owned();
        self.fetch(item(&uri)).await.map_err(|error| {
            let text = error.to_string();
            text.strip_prefix(&format!("cannot fetch {uri}: ")).expect("the URI is named").to_owned()
        })
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.sandbox.join(path)).unwrap()
    }

    /// Everything in the sandbox, by path; what a link leads to follows an arrow.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut all = Vec::new();
        list(&self.sandbox, Path::new(""), &mut all);
        all.sort();
        all
    }
}

fn list(root: &Path, at: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(at)).into_iter().flatten().flatten() {
        let path = at.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            into.push(format!("{}/", path.display()));
            list(root, &path, into);
        } else if kind.is_symlink() {
            into.push(format!("{} -> {}", path.display(), fs::read_link(entry.path()).unwrap().display()));
        } else {
            into.push(path.display().to_string());
        }
    }
}

pub(crate) fn item(uri: &str) -> FetchItem {
    FetchItem { uri: uri.into(), executable: false, extract: true, cache: false, output_file: None }
}

/// One entry of a tar archive, written as it is told, however wrong.
pub(crate) fn tar_entry(kind: EntryType, name: &str, target: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    // Past the library's own checks.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

pub(crate) fn tar_file(name: &str, content: &str) -> Vec<u8> {
    tar_entry(EntryType::Regular, name, "", 0o644, content.as_bytes())
}

/// As other programs write it, with names of any length.
pub(crate) fn honest_tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One stored entry of a zip archive.
pub(crate) struct ZipEntry<'a> {
    pub(crate) name: &'a str,
    /// Unix mode with file type.
    pub(crate) mode: u32,
    /// Bit 0: encrypted.
    pub(crate) flags: u16,
    pub(crate) content: &'a [u8],
}

/// A zip archive byte by byte, so that it may contain what no library would write.
pub(crate) fn zip(entries: &[ZipEntry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = bytes.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(entry.content);
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend([0; 2]);
        common.extend([0; 2]);
        common.extend(0x21_u16.to_le_bytes());
        common.extend(crc.sum().to_le_bytes());
        common.extend((entry.content.len() as u32).to_le_bytes());
        common.extend((entry.content.len() as u32).to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(entry.name.as_bytes());
        bytes.extend(entry.content);
        directory.extend(b"PK\x01\x02");
        // Made on Unix.
        directory.extend([20, 3]);
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 4]);
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

pub(crate) fn zip_file<'a>(name: &'a str, content: &'a str) -> ZipEntry<'a> {
    ZipEntry { name, mode: 0o100_644, flags: 0, content: content.as_bytes() }
}

/// A server that gives the same bytes to everybody, whatever they ask for, and counts them.
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// `answer`: everything from the status line to the last byte. `hang`: keep the connection open afterwards.
    pub(crate) async fn raw(answer: Vec<u8>, hang: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, answer) = (Arc::clone(&asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let mut head = [0; 8192];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(&answer).await;
                    if hang {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { port, asked }
    }

    pub(crate) async fn giving(body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        Self::raw([head.as_bytes(), body].concat(), false).await
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
