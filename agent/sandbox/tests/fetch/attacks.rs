//! Archives made to do harm.

use std::fs;

use proptest::prelude::*;
use tar::EntryType;

use crate::rig::{Rig, Server, ZipEntry, gz, honest_tar, item, tar, tar_entry, tar_file, zip, zip_file};

/// Names that lead out of a directory, and what is said of them.
const TRAVERSALS: [(&str, &str); 7] = [
    ("../escaped", "it contains \"..\""),
    ("a/../../escaped", "it contains \"..\""),
    ("/escaped", "it is absolute"),
    ("//escaped", "it is absolute"),
    ("..", "it contains \"..\""),
    ("./../escaped", "it contains \"..\""),
    ("a/b/../../../escaped", "it contains \"..\""),
];

/// The sandbox's surroundings, to see that they stay as they are.
fn surroundings(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(rig.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    for (name, rule) in TRAVERSALS {
        let rig = Rig::new();
        let expected = format!(
            "the archive contains {name:?}, which is refused: its name is not a path inside the sandbox: {rule}"
        );
        let bytes = tar(&[tar_file("ok", "ok"), tar_file(name, "bad")]);
        assert_eq!(rig.unpack("a.tar", &bytes).await, Err(expected.clone()));
        assert_eq!(rig.unpack("a.tgz", &gz(&bytes)).await, Err(expected.clone()));
        let bytes = zip(&[zip_file("ok", "ok"), zip_file(name, "bad")]);
        assert_eq!(rig.unpack("a.zip", &bytes).await, Err(expected));
        let as_directory = tar(&[tar_entry(EntryType::Directory, name, "", 0o755, b"")]);
        assert!(rig.unpack("d.tar", &as_directory).await.is_err());
        let by_extension = format!("path={name}\n");
        let by_extension = format!("{} {by_extension}", by_extension.len() + 3);
        let pax = tar(&[
            tar_entry(EntryType::XHeader, "x", "", 0o644, by_extension.as_bytes()),
            tar_file("ok", "bad"),
        ]);
        assert!(rig.unpack("p.tar", &pax).await.is_err(), "{by_extension}");
        let long =
            tar(&[tar_entry(EntryType::GNULongName, "x", "", 0o644, name.as_bytes()), tar_file("ok", "bad")]);
        assert!(rig.unpack("l.tar", &long).await.is_err());
        assert_eq!(rig.listing(), ["ok"]);
        assert_eq!(surroundings(&rig), ["a.tar", "a.tgz", "a.zip", "d.tar", "l.tar", "p.tar", "sandbox"]);
    }
}

#[tokio::test]
async fn output_files_and_uris_cannot_lead_out_either() {
    let rig = Rig::new();
    let server = Server::giving(b"bad").await;
    for output in ["../x", "/x", "a/../../x", "", "."] {
        let mut item = item(&server.uri("x"));
        item.output_file = Some(output.into());
        let error = rig.fetch(item).await.unwrap_err().to_string();
        assert!(error.contains("is not a path inside the sandbox"), "{output}: {error}");
    }
    for path in ["%2e%2e", "..%2fx", "%2fetc%2fpasswd", "a%00b"] {
        assert!(rig.fetch(item(&server.uri(path))).await.is_err(), "{path}");
    }
    assert_eq!((rig.listing(), server.asked()), (vec![], 0));
}

#[tokio::test]
async fn links_that_lead_out_are_refused() {
    for target in ["/etc/passwd", "../outside", "sub/../../outside", ".."] {
        let rig = Rig::new();
        let said = "the archive contains \"link\", which is refused: it is a symbolic link that leads out of the sandbox";
        let bytes = tar(&[tar_entry(EntryType::Symlink, "link", target, 0o777, b"")]);
        assert_eq!(rig.unpack("a.tar", &bytes).await, Err(said.into()), "{target}");
        let link = ZipEntry { name: "link", mode: 0o120_777, flags: 0, content: target.as_bytes() };
        assert_eq!(rig.unpack("a.zip", &zip(&[link])).await, Err(said.into()), "{target}");
        assert_eq!(rig.listing(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn nothing_goes_through_a_link() {
    let rig = Rig::new();
    let through = [tar_entry(EntryType::Symlink, "here", ".", 0o777, b""), tar_file("here/file", "bad")];
    assert_eq!(
        rig.unpack("a.tar", &tar(&through)).await,
        Err("the archive contains \"here/file\", which is refused: it would go through, or take the place of, something that is not a directory".into())
    );
    // A file in the place of a link replaces the link.
    fs::write(rig.home.path().join("precious"), "precious").unwrap();
    std::os::unix::fs::symlink("../precious", rig.sandbox.join("planted")).unwrap();
    rig.unpack("b.tar", &tar(&[tar_file("planted", "new")])).await.unwrap();
    assert_eq!(fs::read_to_string(rig.home.path().join("precious")).unwrap(), "precious");
    assert_eq!(rig.read("planted"), "new");
    // Nor does a download or a copy follow one.
    std::os::unix::fs::symlink("../precious", rig.sandbox.join("download")).unwrap();
    let server = Server::giving(b"new").await;
    rig.fetch(item(&server.uri("download"))).await.unwrap();
    assert_eq!(fs::read_to_string(rig.home.path().join("precious")).unwrap(), "precious");
}

#[tokio::test]
async fn hard_links_reach_only_files_of_the_sandbox() {
    let rig = Rig::new();
    fs::write(rig.home.path().join("precious"), "precious").unwrap();
    for target in ["../precious", "/etc/passwd", "missing", "dir", "link"] {
        let bytes = tar(&[
            tar_file("dir/file", "x"),
            tar_entry(EntryType::Symlink, "link", "dir/file", 0o777, b""),
            tar_entry(EntryType::Link, "hard", target, 0o644, b""),
        ]);
        let error = rig.unpack("a.tar", &bytes).await.unwrap_err();
        assert!(
            error.ends_with("it is a hard link to something that is not an ordinary file of the sandbox"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn special_files_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let rig = Rig::new();
        let error =
            rig.unpack("a.tar", &tar(&[tar_entry(kind, "special", "", 0o666, b"")])).await.unwrap_err();
        assert!(error.ends_with("it is a device, a named pipe or another special file"), "{error}");
        assert_eq!(rig.listing(), Vec::<String>::new());
    }
    let rig = Rig::new();
    for mode in [0o020_666, 0o060_666, 0o010_666, 0o140_666] {
        let bytes = zip(&[ZipEntry { name: "special", mode, flags: 0, content: b"" }]);
        assert!(rig.unpack("a.zip", &bytes).await.unwrap_err().ends_with("another special file"));
    }
}

#[tokio::test]
async fn setuid_does_not_survive() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    rig.unpack("a.tar", &tar(&[tar_entry(EntryType::Regular, "a", "", 0o6755, b"x")])).await.unwrap();
    rig.unpack("b.zip", &zip(&[ZipEntry { name: "b", mode: 0o106_755, flags: 0, content: b"x" }]))
        .await
        .unwrap();
    for name in ["a", "b"] {
        assert_eq!(
            fs::metadata(rig.sandbox.join(name)).unwrap().permissions().mode() & 0o7777,
            0o755,
            "{name}"
        );
    }
}

#[tokio::test]
async fn bombs_are_stopped_by_what_comes_out() {
    let mut rig = Rig::new();
    rig.limits.unpacked_bytes = 1 << 20;
    let zeroes = vec![0; 64 << 20];
    let bomb = gz(&zeroes);
    let said = Err("the archive unpacks to more than 1048576 bytes, the limit".to_owned());
    assert_eq!(rig.unpack("bomb.gz", &bomb).await, said);
    let inside = tar(&[tar_entry(EntryType::Regular, "zeroes", "", 0o644, &zeroes)]);
    assert_eq!(rig.unpack("bomb.tgz", &gz(&inside)).await, said);
    // Many small ones count together.
    let files: Vec<String> = (0..40).map(|at| format!("f{at}")).collect();
    let content = "x".repeat(32 << 10);
    let many: Vec<(&str, &str)> = files.iter().map(|name| (name.as_str(), content.as_str())).collect();
    assert_eq!(rig.unpack("many.tar", &honest_tar(&many)).await, said);
    for name in fs::read_dir(&rig.sandbox).unwrap() {
        assert!(name.unwrap().metadata().unwrap().len() <= 1 << 20);
    }
}

#[tokio::test]
async fn endless_lists_are_stopped() {
    let mut rig = Rig::new();
    rig.limits.unpacked_entries = 100;
    let said = Err("the archive has more than 100 entries, the limit".to_owned());
    let names: Vec<String> = (0..101).map(|at| format!("f{at}")).collect();
    let tarred: Vec<Vec<u8>> = names.iter().map(|name| tar_file(name, "")).collect();
    assert_eq!(rig.unpack("a.tar", &tar(&tarred)).await, said);
    let zipped: Vec<ZipEntry<'_>> = names.iter().map(|name| zip_file(name, "")).collect();
    assert_eq!(rig.unpack("a.zip", &zip(&zipped)).await, said);
    let extensions = vec![tar_entry(EntryType::XGlobalHeader, "g", "", 0o644, b""); 101];
    assert_eq!(rig.unpack("g.tar", &tar(&extensions)).await, said);
    // A directory that lies about its size: the table for it is never made.
    let mut liar = zip(&[zip_file("a", "a")]);
    let end = liar.len() - 22;
    liar[end + 8..end + 12].copy_from_slice(&[0xff; 4]);
    assert_eq!(rig.unpack("liar.zip", &liar).await, said);
}

#[tokio::test]
async fn names_have_a_length() {
    let mut rig = Rig::new();
    rig.limits.path_bytes = 200;
    let long = format!("{}/x", "d/".repeat(120));
    let error = rig.unpack("a.tar", &honest_tar(&[(&long, "x")])).await.unwrap_err();
    assert!(error.ends_with("it is longer than 200 bytes"), "{error}");
    rig.limits.path_bytes = 1024;
    let error = rig.unpack("b.tar", &honest_tar(&[(&"n".repeat(300), "x")])).await.unwrap_err();
    assert!(error.ends_with("it is longer than 255 bytes"), "{error}");
    let huge =
        tar(&[tar_entry(EntryType::GNULongName, "x", "", 0o644, &vec![b'n'; 1 << 20]), tar_file("a", "")]);
    let error = rig.unpack("c.tar", &huge).await.unwrap_err();
    assert!(error.ends_with("its name or its extensions are too long"), "{error}");
}

#[tokio::test]
async fn one_kind_cannot_take_the_place_of_another() {
    let rig = Rig::new();
    let error = rig.unpack("a.tar", &tar(&[tar_file("d/x", "x"), tar_file("d", "file")])).await.unwrap_err();
    assert!(error.contains("\"d\""), "{error}");
    let error = rig.unpack("b.tar", &tar(&[tar_file("f", "x"), tar_file("f/x", "x")])).await.unwrap_err();
    assert!(error.contains("\"f/x\""), "{error}");
    let error = rig.unpack("c.tar", &tar(&[tar_file("./", "x")])).await;
    assert_eq!(error, Ok(()), "the directory itself");
}

#[tokio::test]
async fn what_is_broken_encrypted_or_unknown_is_named() {
    let rig = Rig::new();
    let unpack = async |name: &str, bytes: &[u8]| rig.unpack(name, bytes).await.unwrap_err();
    assert_eq!(unpack("a.zip", b"no archive").await, "it is named like an archive but is none");
    assert!(unpack("a.tar.bz2", b"BZh91AY").await.starts_with("bzip2 archives are not supported"));
    let whole = gz(&honest_tar(&[("a", &"x".repeat(10_000))]));
    assert!(unpack("cut.tgz", &whole[..whole.len() - 20]).await.starts_with("the archive is damaged"));
    let mut flipped = zip(&[zip_file("a", "content")]);
    flipped[35] ^= 1;
    assert!(unpack("flipped.zip", &flipped).await.starts_with("the archive is damaged"));
    let locked = zip(&[ZipEntry { flags: 1, ..zip_file("locked", "x") }]);
    assert!(unpack("locked.zip", &locked).await.ends_with("it is encrypted"));
    let sparse = tar(&[
        tar_entry(EntryType::XHeader, "x", "", 0o644, b"22 GNU.sparse.major=1\n"),
        tar_file("sparse", "x"),
    ]);
    assert!(unpack("sparse.tar", &sparse).await.contains("sparse"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever an archive's bytes are, nothing outside the sandbox changes, and nobody panics.
    #[test]
    fn bytes_at_random_do_no_harm(
        flips in prop::collection::vec((0_usize..4096, any::<u8>()), 1..20),
        kind in 0..3,
    ) {
        let rig = Rig::new();
        let tarball = tar(&[
            tar_file("a/b", "content"),
            tar_entry(EntryType::Symlink, "l", "a", 0o777, b""),
            tar_entry(EntryType::Link, "h", "a/b", 0o644, b""),
            tar_file("l2/c", "more"),
        ]);
        let (name, mut bytes) = match kind {
            0 => ("x.tar", tarball),
            1 => ("x.tgz", gz(&tarball)),
            _ => ("x.zip", zip(&[zip_file("a/b", "content"), zip_file("c", "more")])),
        };
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(rig.unpack(name, &bytes));
        prop_assert_eq!(surroundings(&rig), vec!["sandbox".to_owned(), name.to_owned()]);
    }
}
