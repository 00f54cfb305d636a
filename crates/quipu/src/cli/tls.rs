//! The files that the TLS of a server is made of: reading them, looking whether they have changed, and saying when the
//! certificate ends. They are looked at again and again instead of being watched, since that sees whatever is done to them
//! (links that are moved elsewhere, other file systems) and needs no signal.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quipu_domain::Timestamp;
use quipu_engine::Clock as _;
use quipu_server::{Identity, InvalidTls, Tls};
use zeroize::Zeroizing;

use super::exit::Failure;

/// How often the files are looked at. What has changed is read when it is the same at the next look: whoever replaces a
/// certificate and its key writes one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the end of the certificate is spoken of.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before: long enough for people to do something about it, and short enough that what renews them has failed by then.
const WARN_BEFORE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Largest file: a thousand certificates.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    certificates: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
}

/// What tells whether a file is another than before; nothing if it is not there.
type Mark = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// TLS, and the files that it was made of.
pub struct Watch {
    files: Files,
    pub tls: Tls,
    /// The files as they were when they were read last.
    read: Vec<Mark>,
    /// The files at the last look.
    seen: Vec<Mark>,
}

impl Files {
    /// The configured ones; without a certificate there is no TLS.
    pub fn of(
        certificates: Option<PathBuf>,
        key: Option<PathBuf>,
        client_authorities: Option<PathBuf>,
    ) -> Result<Option<Self>, Failure> {
        match (certificates, key, client_authorities) {
            (Some(certificates), Some(key), client_authorities) => {
                Ok(Some(Self { certificates, key, client_authorities }))
            }
            (None, None, None) => Ok(None),
            (None, None, Some(_)) => Err(Failure::usage(
                "tls_client_authorities_file: expected tls_certificate_file and tls_key_file beside it, found neither: \
                 without TLS no client shows a certificate",
            )),
            (Some(_), None, _) => Err(Failure::usage(
                "tls_certificate_file: expected tls_key_file beside it, the key of the certificate, found none",
            )),
            (None, Some(_), _) => Err(Failure::usage(
                "tls_key_file: expected tls_certificate_file beside it, the certificate of the key, found none",
            )),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificates, &self.key].into_iter().chain(&self.client_authorities)
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |path: &PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
            Some((file.dev(), file.ino(), file.len(), modified, changed))
        };
        self.paths().map(mark).collect()
    }

    /// Reads the files and makes something of them. What is wrong is said with the file that it is in.
    fn read<T>(&self, make: impl FnOnce(Identity<'_>) -> Result<T, InvalidTls>) -> Result<T, Failure> {
        let (certificates, key) = (read(&self.certificates)?, read_key(&self.key)?);
        let authorities = self.client_authorities.as_deref().map(read).transpose()?;
        let client_authorities = authorities.as_ref().map(|bytes| bytes.as_slice());
        make(Identity { certificates: &certificates, key: &key, client_authorities }).map_err(|invalid| {
            let path = match (&invalid, &self.client_authorities) {
                (InvalidTls::Key { .. }, _) => &self.key,
                (InvalidTls::ClientAuthorities(_), Some(path)) => path,
                _ => &self.certificates,
            };
            Failure::usage(format!("{}: {invalid}", path.display()))
        })
    }
}

/// A whole file.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_checked(path, |_| Ok(()))
}

/// A whole file with a private key.
pub fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_checked(path, |mode| refuse_open_key(path, mode))
}

/// If its mode will do.
fn read_checked(path: &Path, check: impl FnOnce(u32) -> Result<(), Failure>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::file("read", path.display(), &error);
    let mut file = File::open(path).map_err(failed)?;
    check(file.metadata().map_err(failed)?.mode())?;
    // As large as it can become, so that it leaves no copies behind when it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    file.by_ref().take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() > FILE_BYTES_MAX {
        true => Err(Failure::usage(format!("{}: expected at most {FILE_BYTES_MAX} bytes, found more", path.display()))),
        false => Ok(bytes),
    }
}

/// As ssh does with its keys; but a group may read it, since the server is often not its owner (`ssl-cert` on Debian, `fsGroup`
/// in Kubernetes).
fn refuse_open_key(path: &Path, mode: u32) -> Result<(), Failure> {
    match mode & 0o007 {
        0 => Ok(()),
        _ => Err(Failure::usage(format!(
            "{path}: expected a private key that its owner and a group may read at most, found that everybody on this \
             machine may use it (mode {:04o}): chmod o= {path}",
            mode & 0o7777,
            path = path.display()
        ))),
    }
}

impl Watch {
    /// Reads the files for the first time.
    pub fn begin(files: Files) -> Result<Self, Failure> {
        let marks = files.marks();
        let tls = files.read(Tls::new)?;
        Ok(Self { files, tls, read: marks.clone(), seen: marks })
    }

    /// Whether clients have to show a certificate.
    pub fn asks_clients(&self) -> bool {
        self.files.client_authorities.is_some()
    }

    /// Looks at the files again and again, and takes what is new.
    pub async fn run(mut self) {
        self.warn();
        let mut looks: u32 = 0;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Files may be far away.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            self = match looked.await {
                Ok(this) => this,
                Err(error) => return tracing::error!(%error, "the files of TLS are not looked at any more"),
            };
            looks += 1;
            if LOOK_EVERY * looks >= WARN_EVERY {
                looks = 0;
                self.warn();
            }
        }
    }

    fn look(&mut self) {
        let marks = self.files.marks();
        let is_settled = marks == self.seen;
        self.seen = marks;
        if !is_settled || self.seen == self.read {
            return;
        }
        self.read.clone_from(&self.seen);
        match self.files.read(|identity| self.tls.replace(identity)) {
            Ok(()) => {
                let end = self.tls.ends().map_or(String::new(), |ends| format!(", good until {ends}"));
                tracing::info!(
                    "the files of TLS have changed: new connections get the certificate that is there now{end}"
                );
            }
            Err(Failure::Said { message, .. }) => tracing::error!(
                "the files of TLS have changed and are no use, so the certificate of before is shown on: {message}. They \
                 are read again when they change"
            ),
            Err(Failure::BrokenPipe) => {}
        }
    }

    fn warn(&self) {
        if let Some(warning) = self.tls.ends().and_then(|ends| warning(ends, quipu::SystemClock.now())) {
            tracing::warn!(
                "{}: {warning}; put another there, the server takes it without a restart",
                self.files.certificates.display()
            );
        }
    }
}

/// What is to be said about a certificate that ends then.
fn warning(ends: Timestamp, now: Timestamp) -> Option<String> {
    match ends {
        _ if ends <= now => Some(format!("the certificate ended on {ends}, and clients refuse it")),
        _ if ends <= now.plus_ms(WARN_BEFORE_MS) => Some(format!("the certificate ends on {ends}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    /// Certificate and key that are good until a year.
    fn made(year: i32) -> (String, String) {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// Puts both into a folder, where they are looked for.
    fn put(folder: &TempDir, (certificate, key): &(String, String)) -> Files {
        let (certificates, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        fs::write(&certificates, certificate).unwrap();
        fs::write(&key_file, key).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        Files { certificates, key: key_file, client_authorities: None }
    }

    fn said<T>(outcome: Result<T, Failure>) -> String {
        match outcome {
            Err(Failure::Said { message, .. }) => message,
            _ => panic!("expected a failure"),
        }
    }

    fn year(watch: &Watch) -> String {
        watch.tls.ends().unwrap().to_string()[..4].to_owned()
    }

    #[test]
    fn what_has_changed_is_taken_when_it_has_settled_and_what_is_broken_is_not() {
        let folder = TempDir::new().unwrap();
        let mut watch = Watch::begin(put(&folder, &made(2051))).unwrap();
        watch.look();
        assert_eq!(year(&watch), "2051");
        put(&folder, &made(2052));
        watch.look();
        assert_eq!(year(&watch), "2051", "the other file may still be on its way");
        watch.look();
        assert_eq!(year(&watch), "2052");
        // The certificate of another key, no file at all, and a good one again.
        let (certificate, _) = made(2053);
        fs::write(folder.path().join("tls.crt"), certificate).unwrap();
        (0..3).for_each(|_| watch.look());
        fs::remove_file(folder.path().join("tls.crt")).unwrap();
        (0..3).for_each(|_| watch.look());
        assert_eq!(year(&watch), "2052");
        put(&folder, &made(2054));
        (0..2).for_each(|_| watch.look());
        assert_eq!(year(&watch), "2054");
    }

    #[test]
    fn a_link_that_is_moved_to_another_folder_is_a_change() {
        let folder = TempDir::new().unwrap();
        for name in ["first", "second"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let place = |name: &str, year| {
            let (certificate, key) = made(year);
            fs::write(folder.path().join(name).join("tls.crt"), certificate).unwrap();
            let key_file = folder.path().join(name).join("tls.key");
            fs::write(&key_file, key).unwrap();
            fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
        };
        place("first", 2051);
        place("second", 2052);
        let (data, next) = (folder.path().join("..data"), folder.path().join("..next"));
        std::os::unix::fs::symlink("first", &data).unwrap();
        let files = Files { certificates: data.join("tls.crt"), key: data.join("tls.key"), client_authorities: None };
        let mut watch = Watch::begin(files).unwrap();
        assert_eq!(year(&watch), "2051");
        std::os::unix::fs::symlink("second", &next).unwrap();
        fs::rename(&next, &data).unwrap();
        (0..2).for_each(|_| watch.look());
        assert_eq!(year(&watch), "2052");
    }

    #[test]
    fn a_key_that_everybody_may_read_is_refused() {
        let folder = TempDir::new().unwrap();
        let files = put(&folder, &made(2051));
        for (mode, is_taken) in [(0o400, true), (0o640, true), (0o644, false), (0o602, false), (0o601, false)] {
            fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).unwrap();
            let begun = Watch::begin(files.clone());
            assert_eq!(begun.is_ok(), is_taken, "{mode:o}");
            if !is_taken {
                let said = said(begun);
                assert!(said.contains(&format!("mode {mode:04o}")) && said.contains("chmod o= "), "{said}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_that_it_is_in() {
        let folder = TempDir::new().unwrap();
        let good = put(&folder, &made(2051));
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let empty = path("empty", "");
        let large = path("large", &"x".repeat(FILE_BYTES_MAX + 1));
        let absent = folder.path().join("absent");
        let with = |change: &dyn Fn(&mut Files)| {
            let mut files = good.clone();
            change(&mut files);
            said(Watch::begin(files))
        };
        for (said, file, part) in [
            (with(&|files| files.certificates = empty.clone()), &empty, "expected the certificate of the server"),
            (with(&|files| files.certificates = large.clone()), &large, "expected at most 1048576 bytes"),
            (with(&|files| files.key = absent.clone()), &absent, "cannot read"),
            (with(&|files| files.client_authorities = Some(empty.clone())), &empty, "certificates of authorities"),
        ] {
            assert!(said.contains(part) && said.contains(&file.display().to_string()), "{part}: {said}");
        }
        let some = Some(empty);
        for (set, name) in [
            ((some.clone(), None, None), "tls_certificate_file: expected tls_key_file"),
            ((None, some.clone(), None), "tls_key_file: expected tls_certificate_file"),
            ((None, None, some), "tls_client_authorities_file: expected"),
        ] {
            let said = said(Files::of(set.0, set.1, set.2));
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn a_certificate_is_spoken_of_from_a_week_before_its_end() {
        let now = Timestamp::parse("2026-01-31T09:30:00Z").unwrap();
        for (ends, word) in [
            ("2026-02-07T09:30:01Z", None),
            ("2026-02-07T09:30:00Z", Some("ends on 2026-02-07")),
            ("2026-01-31T09:30:00Z", Some("ended on 2026-01-31")),
            ("2001-01-01T00:00:00Z", Some("ended on 2001-01-01")),
        ] {
            let said = warning(Timestamp::parse(ends).unwrap(), now);
            assert_eq!(said.is_some(), word.is_some(), "{ends}");
            assert!(word.is_none_or(|word| said.as_ref().is_some_and(|said| said.contains(word))), "{said:?}");
        }
    }
}
