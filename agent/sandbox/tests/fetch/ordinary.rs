//! What people fetch every day.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sandbox::fetch::{FetchItem, FetchLimits, Fetcher, Phase};

use crate::rig::{Rig, Server, gz, honest_tar, item, tar, tar_file, zip, zip_file};

#[tokio::test]
async fn a_file_over_http() {
    let rig = Rig::new();
    let server = Server::giving(b"hello").await;
    rig.fetch(item(&server.uri("dir/greeting.txt?token=1"))).await.unwrap();
    assert_eq!(rig.listing(), ["greeting.txt"], "and nothing temporary");
    assert_eq!(rig.read("greeting.txt"), "hello");
    let named = FetchItem { output_file: Some("a/b".into()), executable: true, ..item(&server.uri("x")) };
    rig.fetch(named).await.unwrap();
    assert_eq!(rig.read("a/b"), "hello");
    assert_eq!(fs::metadata(rig.sandbox.join("a/b")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[tokio::test]
async fn archives_of_each_kind() {
    let files = [("bin/run", "run"), ("deep/er/file", "content")];
    let tarball = honest_tar(&files);
    let zipped = zip(&[zip_file("bin/run", "run"), zip_file("deep/er/file", "content")]);
    for (name, bytes) in [
        ("app.tar", tarball.clone()),
        ("app.tar.gz", gz(&tarball)),
        ("app.TGZ", gz(&tarball)),
        ("app.zip", zipped.clone()),
        ("app.tgz", zipped),
        ("download", gz(&tarball)),
    ] {
        let rig = Rig::new();
        let server = Server::giving(&bytes).await;
        rig.fetch(item(&server.uri(name))).await.unwrap();
        assert_eq!(rig.listing(), ["bin/", "bin/run", "deep/", "deep/er/", "deep/er/file"], "{name}");
        assert_eq!(rig.read("deep/er/file"), "content");
    }
}

#[tokio::test]
async fn archives_that_are_not_to_be_unpacked() {
    let rig = Rig::new();
    let bytes = gz(&honest_tar(&[("a", "a")]));
    let server = Server::giving(&bytes).await;
    rig.fetch(FetchItem { extract: false, ..item(&server.uri("one.tgz")) }).await.unwrap();
    rig.fetch(FetchItem { executable: true, ..item(&server.uri("two.tgz")) }).await.unwrap();
    rig.fetch(item(&server.uri("three.jar"))).await.unwrap();
    assert_eq!(rig.listing(), ["one.tgz", "three.jar", "two.tgz"]);
    assert_eq!(fs::read(rig.sandbox.join("three.jar")).unwrap(), bytes);
}

#[tokio::test]
async fn a_single_compressed_file() {
    let rig = Rig::new();
    rig.unpack("words.txt.gz", &gz(b"words")).await.unwrap();
    assert_eq!((rig.listing(), rig.read("words.txt")), (vec!["words.txt".to_owned()], "words".to_owned()));
}

#[tokio::test]
async fn long_names_links_and_modes_of_a_tar() {
    use tar::EntryType;
    let rig = Rig::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    rig.unpack("long.tar", &honest_tar(&[(&long, "long")])).await.unwrap();
    assert_eq!(rig.read(&long), "long");
    let entry = crate::rig::tar_entry;
    let bytes = tar(&[
        entry(EntryType::Directory, "./", "", 0o755, b""),
        entry(EntryType::Directory, "lib/", "", 0o500, b""),
        entry(EntryType::Regular, "lib/x.1", "", 0o444, b"x"),
        entry(EntryType::Symlink, "lib/x", "x.1", 0o777, b""),
        entry(EntryType::Symlink, "bin/x", "../lib/x", 0o777, b""),
        entry(EntryType::Link, "hard", "lib/x.1", 0o644, b""),
    ]);
    rig.unpack("links.tar", &bytes).await.unwrap();
    assert_eq!(rig.read("bin/x"), "x");
    let inode = |path: &str| fs::metadata(rig.sandbox.join(path)).unwrap().ino();
    assert_eq!(inode("hard"), inode("lib/x.1"));
    let pax =
        [entry(EntryType::XHeader, "x", "", 0o644, b"19 path=renamed/it\n"), tar_file("original", "content")];
    rig.unpack("pax.tar", &tar(&pax)).await.unwrap();
    assert_eq!(rig.read("renamed/it"), "content");
}

#[tokio::test]
async fn a_later_item_replaces_an_earlier_one() {
    let rig = Rig::new();
    rig.unpack("one.tar", &tar(&[tar_file("a", "old"), tar_file("b", "kept")])).await.unwrap();
    rig.unpack("two.tar", &tar(&[tar_file("a", "new")])).await.unwrap();
    assert_eq!((rig.read("a"), rig.read("b")), ("new".into(), "kept".into()));
}

#[tokio::test]
async fn everything_belongs_to_the_user_and_only_what_they_may_read_is_copied() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let mut rig = Rig::new();
    rig.user = Some("nobody".into());
    use tar::EntryType;
    let entry = crate::rig::tar_entry;
    let bytes = tar(&[tar_file("d/file", "x"), entry(EntryType::Symlink, "d/link", "file", 0o777, b"")]);
    rig.unpack("app.tar", &bytes).await.unwrap();
    let server = Server::giving(b"hello").await;
    rig.fetch(item(&server.uri("download.txt"))).await.unwrap();
    for path in ["", "d", "d/file", "d/link", "download.txt"] {
        assert_eq!(fs::symlink_metadata(rig.sandbox.join(path)).unwrap().uid(), 65534, "{path}");
    }
    let secret = rig.home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let error = rig.fetch(item(secret.to_str().unwrap())).await.unwrap_err().to_string();
    assert!(error.ends_with("it cannot be read: Permission denied (os error 13)"), "{error}");
    assert!(nix::unistd::geteuid().is_root(), "the rights were given up by one thread only");
    rig.user = None;
    rig.fetch(item(secret.to_str().unwrap())).await.unwrap();
}

#[tokio::test]
async fn failures_are_sentences_with_the_uri() {
    let rig = Rig::new();
    let error = async |uri: &str| rig.fetch(item(uri)).await.unwrap_err().to_string();
    let server = Server::raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), false).await;
    let uri = server.uri("x");
    assert_eq!(error(&uri).await, format!("cannot fetch {uri}: the server answered 404"));
    assert_eq!(
        error("/no/such/file").await,
        "cannot fetch /no/such/file: it cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(error("/").await, "cannot fetch /: it names no file to store it under; give output_file");
    assert_eq!(error("/dev/null").await, "cannot fetch /dev/null: it is not an ordinary file");
    assert_eq!(error("/tmp").await, "cannot fetch /tmp: it is not an ordinary file");
    assert!(error("gopher://host/x").await.contains("scheme gopher is not supported"));
    let refused = error("http://me:secret@127.0.0.1:1/x").await;
    assert!(refused.contains("http://me:***@127.0.0.1:1/x") && !refused.contains("secret"), "{refused}");
    let short = Server::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort".to_vec(), false).await;
    assert!(rig.fetch(item(&short.uri("x"))).await.is_err(), "a transfer cut short");
    let looping = Server::raw(
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        false,
    )
    .await;
    let text = error(&looping.uri("x")).await;
    assert!(text.ends_with("more than 10 redirections"), "{text}");
    assert_eq!(rig.listing(), Vec::<String>::new(), "nothing half done");
}

#[tokio::test]
async fn silence_and_slowness_have_an_end() {
    let mut rig = Rig::new();
    let silent = Server::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.".to_vec(), true).await;
    rig.limits.stall = Duration::from_millis(200);
    let error = rig.fetch(item(&silent.uri("x"))).await.unwrap_err().to_string();
    assert!(error.contains("no data came"), "{error}");
    rig.limits = FetchLimits { time: Duration::from_millis(200), ..FetchLimits::default() };
    let start = Instant::now();
    let error = rig.fetch(item(&silent.uri("x"))).await.unwrap_err().to_string();
    assert!(error.contains("it took longer than"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(rig.listing(), Vec::<String>::new());
}

#[tokio::test]
async fn too_large_a_file_is_refused_announced_or_not() {
    let mut rig = Rig::new();
    rig.limits.file_bytes = 1000;
    let announced = Server::giving(&[b'x'; 1001]).await;
    let unannounced = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &[b'x'; 1001]].concat();
    let unannounced = Server::raw(unannounced, false).await;
    let path = rig.home.path().join("large");
    fs::write(&path, [b'x'; 1001]).unwrap();
    for uri in [announced.uri("x"), unannounced.uri("x"), path.to_str().unwrap().to_owned()] {
        let error = rig.fetch(item(&uri)).await.unwrap_err().to_string();
        assert!(error.ends_with("it is larger than 1000 bytes, the limit"), "{error}");
    }
    assert_eq!(rig.listing(), Vec::<String>::new());
}

#[tokio::test]
async fn a_kept_copy_is_fetched_once_even_by_many() {
    let rig = Rig::new();
    let server = Server::giving(&gz(&honest_tar(&[("a", "a")]))).await;
    let fetcher = Fetcher::new(rig.limits, Some(rig.home.path().join("cache"))).unwrap();
    let fetch = |at: usize, cache: bool| {
        let mut request = rig.request(vec![FetchItem { cache, ..item(&server.uri("app.tgz")) }]);
        request.sandbox = rig.home.path().join(format!("sandbox-{at}"));
        let fetcher = fetcher.clone();
        async move { fetcher.fetch(request, |_| {}).await }
    };
    for result in futures_util::future::join_all((0..20).map(|at| fetch(at, true))).await {
        result.unwrap();
    }
    assert_eq!(server.asked(), 1);
    for at in 0..20 {
        assert_eq!(fs::read_to_string(rig.home.path().join(format!("sandbox-{at}/a"))).unwrap(), "a");
    }
    fetch(20, false).await.unwrap();
    assert_eq!(server.asked(), 2, "who does not want a copy gets the original");
}

#[tokio::test]
async fn progress_is_told() {
    let rig = Rig::new();
    let server = Server::giving(&gz(&honest_tar(&[("a", "content")]))).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let request = rig.request(vec![item(&server.uri("app.tgz")), item(&server.uri("again.tgz"))]);
    let fetcher = Fetcher::new(rig.limits, None).unwrap();
    fetcher.fetch(request, move |progress| sink.lock().unwrap().push(progress)).await.unwrap();
    let seen = seen.lock().unwrap();
    let phases: Vec<(usize, Phase)> = seen.iter().map(|progress| (progress.item, progress.phase)).collect();
    let expected = |item| [(item, Phase::Fetching), (item, Phase::Unpacking), (item, Phase::Done)];
    assert_eq!(phases, [expected(0), expected(1)].concat());
    assert_eq!((seen[0].items, Some(seen[0].bytes)), (2, seen[0].total));
    assert_eq!(seen[1].bytes, 7);
}
