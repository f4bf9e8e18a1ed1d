//! What the machine itself takes, measured in the same minute: the figure that a ratio is taken of.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for `count` programs that do nothing: `posix_spawn` of `/bin/true` and `waitpid`, one after the other.
pub fn spawns(count: u32) -> Duration {
    let path = c"/bin/true";
    let started = Instant::now();
    for _ in 0..count {
        let mut pid = 0;
        let argv = [path.as_ptr().cast_mut(), std::ptr::null_mut()];
        let envp = [std::ptr::null_mut()];
        // SAFETY: all pointers are to null-terminated arrays that outlive the calls; the child is waited for at once.
        unsafe {
            let failed = libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            );
            assert_eq!(failed, 0, "posix_spawn");
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid, "waitpid");
        }
    }
    started.elapsed()
}

/// The median of 200 `fdatasync` calls, each after a write of 256 bytes, in `folder`.
pub fn fdatasync(folder: &Path) -> Duration {
    let path = folder.join("floor");
    let file = File::create(&path).expect("a file");
    let mut each: Vec<Duration> = (0..200u64)
        .map(|i| {
            file.write_all_at(&[1; 256], i * 256).expect("written");
            let started = Instant::now();
            file.sync_data().expect("synced");
            started.elapsed()
        })
        .collect();
    each.sort_unstable();
    std::fs::remove_file(path).expect("removed");
    each[each.len() / 2]
}
