//! A small file system of its own for the folder `data`, in a mount namespace that nobody else sees and which ends with the
//! test: an ext4 in a file, on which a sync means something, or, where nobody can mount that, a tmpfs, on which it means
//! nothing. Root makes the namespace as it is, others inside a namespace of users.
//!
//! An ext4 is not optional where it can be had: for root with a loop device it must be made and mounted, or the test fails.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::process::{Ran, User, finish};

/// Mounts `image`, also after it was unmounted.
pub const MOUNT_EXT4: &str = r#"mount -o loop "$0/../image" "$0""#;

/// Makes `image` and mounts it. All of its room is for anybody: by default some is for root alone.
fn make_ext4(mib: u64) -> String {
    format!(r#"cd "$0/.." && truncate -s {mib}m image && mkfs.ext4 -q -m 0 image && {MOUNT_EXT4}"#)
}

/// Keeps the namespace, and so the mount, until it is dropped.
pub struct Mounted {
    holder: Child,
    folder: String,
}

impl Mounted {
    /// Mounts an ext4 of so many MiB where that is possible, else a tmpfs, and says on standard error which it is.
    pub fn any(user: &User, mib: u64) -> Self {
        if let Some(mounted) = Self::ext4(user, mib) {
            return mounted;
        }
        eprintln!("RAN ON TMPFS, where a sync means nothing: this fault runs on ext4 for root with a loop device");
        Self::mount(user, &format!(r#"mount -t tmpfs -o size={mib}m quipu "$0""#), "tmpfs")
    }

    /// Mounts an ext4 of so many MiB from the file `image` beside the folder; nothing where that is not possible.
    pub fn ext4(user: &User, mib: u64) -> Option<Self> {
        if !(is_root() && has_loop_device()) {
            return None;
        }
        let mounted = Self::mount(user, &make_ext4(mib), "ext2/ext3");
        eprintln!("ran on ext4, in a file that is mounted");
        Some(mounted)
    }

    /// Mounts so, and then has a file system of this kind, as stat(1) calls it.
    fn mount(user: &User, mount: &str, kind: &str) -> Self {
        let folder = user.path("data");
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        // `cat` ends with the pipe to it, so also with a test that was killed.
        command.args(["--mount", "sh", "-c", &format!("{mount} && echo mounted && exec cat"), &folder]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut holder = spawned.unwrap_or_else(|error| panic!("this test needs unshare (util-linux): {error}"));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "this test needs a mount namespace, as root or an unprivileged one of users, and what it mounts in it: for \
             root with a loop device mkfs.ext4 (e2fsprogs)"
        );
        let mounted = Self { holder, folder };
        assert_eq!(mounted.run(r#"stat -f -c %T "$0""#).ok().stdout.trim(), kind);
        mounted
    }

    /// What starts a program inside.
    pub fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let users: &[&str] = if is_root() { &[] } else { &["--user", "--preserve-credentials"] };
        let words = [&["nsenter", "--target", &target, "--mount"], users, &["--"]].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Runs a script of the shell inside, where `$0` is the folder.
    pub fn run(&self, script: &str) -> Ran {
        let enter = self.enter();
        finish(Command::new(&enter[0]).args(&enter[1..]).args(["sh", "-c", script, &self.folder]))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Whether there is a free loop device that this process may use: in a container there may be none.
fn has_loop_device() -> bool {
    let free = Command::new("losetup").arg("--find").output();
    let free = free.unwrap_or_else(|error| panic!("this test needs losetup (mount, in Debian): {error}"));
    let device = String::from_utf8(free.stdout).unwrap();
    free.status.success() && File::options().read(true).write(true).open(device.trim()).is_ok()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
