//! A small file system of its own for the folder `data`, in a mount namespace that nobody else sees and which ends with the
//! test: an ext4 in a file, on which a sync means something, or, where that cannot be mounted, a tmpfs, on which it means
//! nothing. Root makes the namespace as it is, others inside a namespace of users.

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
    /// Mounts an ext4 of so many MiB where that is allowed, else a tmpfs, and says on standard error which it is.
    pub fn any(user: &User, mib: u64) -> Self {
        let (ext4, tmpfs) = (make_ext4(mib), format!(r#"mount -t tmpfs -o size={mib}m quipu "$0""#));
        let mounted = Self::mount(user, &format!("({ext4}) || ({tmpfs})"));
        match mounted.run(r#"stat -f -c %T "$0""#).ok().stdout.trim() {
            "tmpfs" => eprintln!(
                "RAN ON TMPFS, where a sync means nothing: this fault runs on ext4 for root, with loop devices and mkfs.ext4"
            ),
            _ => eprintln!("ran on ext4, in a file that is mounted"),
        }
        mounted
    }

    /// Mounts an ext4 of so many MiB from the file `image` beside the folder, which takes root and a loop device.
    pub fn ext4(user: &User, mib: u64) -> Self {
        assert!(is_root(), "this test needs root, to mount a file");
        Self::mount(user, &make_ext4(mib))
    }

    fn mount(user: &User, mount: &str) -> Self {
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
            "this test needs a mount namespace, as root or an unprivileged one of users, and what it mounts in it"
        );
        Self { holder, folder }
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

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
