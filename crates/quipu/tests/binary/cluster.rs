//! A PostgreSQL server of the test's own: made anew in a folder, reached by a socket in it or by a port, stopped when it is dropped.
//! The programs are those of the machine (the package `postgresql`), which `scripts/test` installs.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The port of PostgreSQL, which also names its socket.
const PORT: u16 = 5_432;
/// Nobody, who owns no file. The server refuses to be run by root.
const NOBODY: u32 = 65_534;

pub struct Cluster {
    pub folder: TempDir,
    server: Child,
    /// Its settings.
    settings: Vec<String>,
    port: u16,
    /// Those of its certificate.
    files: Option<TempDir>,
}

impl Cluster {
    /// One that is reached by its socket alone.
    pub fn start() -> Self {
        Self::start_with(PORT, &["listen_addresses="])
    }

    /// One that is reached by a port of this machine too.
    pub fn start_on_port(settings: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_with(port, &[&["listen_addresses=127.0.0.1"], settings].concat())
    }

    /// One that is reached by a port, encrypted, as the host of this name or address; and the authority that vouches for it, PEM.
    pub fn start_encrypted(host: &str) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        let files = TempDir::new_in("/tmp").unwrap();
        let (certificate, key) = (files.path().join("certificate"), files.path().join("key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        if geteuid().is_root() {
            std::fs::set_permissions(files.path(), Permissions::from_mode(0o711)).unwrap();
            chown(&key, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let settings = [format!("ssl_cert_file={}", certificate.display()), format!("ssl_key_file={}", key.display())];
        let mut cluster = Self::start_on_port(&["ssl=on", &settings[0], &settings[1]]);
        cluster.files = Some(files);
        (cluster, made.cert.pem())
    }

    fn start_with(port: u16, settings: &[&str]) -> Self {
        // The path of a socket has 107 bytes at most, so it is not in a folder of a build or of a run.
        let folder = TempDir::new_in("/tmp").unwrap();
        let home = home(folder.path());
        std::fs::create_dir(&home).unwrap();
        if geteuid().is_root() {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut initdb = program("initdb", &home);
        initdb.args(["-D", "data", "-U", "shop", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let server = serve(&home, port, &settings);
        let mut cluster = Self { folder, server, settings, port, files: None };
        cluster.wait();
        cluster
    }

    /// The URL of its database by the port, for a user.
    pub fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// Does something in its database.
    pub fn sql(&self, sql: &str) {
        block_on(async { self.client().await.unwrap().batch_execute(sql).await.unwrap() });
    }

    /// A connection by its socket, which lasts as long as the runtime.
    pub async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        connect_to(self.folder.path(), self.port).await
    }

    /// Ends it without a last write, and leaves it so.
    pub fn stop(&mut self) {
        kill_process(Pid::from_child(&self.server), Signal::QUIT).unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again.
    pub fn start_again(&mut self) {
        self.server = serve(&home(self.folder.path()), self.port, &self.settings);
        self.wait();
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while block_on(self.client()).is_err() {
            let ended = self.server.try_wait().unwrap();
            let said = || std::fs::read_to_string(self.folder.path().join("postgres/said")).unwrap();
            assert!(begun.elapsed() < DEADLINE, "expected a server, found {ended:?}: {}", said());
            // Processes of a server that was killed may be there still, and the next one does not begin beside them.
            if ended.is_some() {
                self.server = serve(&home(self.folder.path()), self.port, &self.settings);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without a last write, and starts it again.
    pub fn crash(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.server), signal).unwrap();
        self.server.wait().unwrap();
        self.start_again();
    }

    /// Where it is, as the command line takes it.
    pub fn url(&self) -> String {
        format!("host={} user=shop dbname=postgres", home(self.folder.path()).display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast shutdown; killed, it would leave its own processes behind.
        let _ = kill_process(Pid::from_child(&self.server), Signal::INT);
        let _ = self.server.wait();
    }
}

fn serve(home: &Path, port: u16, settings: &[String]) -> Child {
    let said = File::options().append(true).create(true).open(home.join("said")).unwrap();
    let mut server = program("postgres", home);
    server.args(["-D", "data", "-F", "-p", &port.to_string(), "-k"]).arg(home);
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    server.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap()
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A connection to the server in this folder, which lasts as long as the runtime.
pub async fn connect(folder: &Path) -> Client {
    try_connect(folder).await.unwrap()
}

pub async fn try_connect(folder: &Path) -> Result<Client, tokio_postgres::Error> {
    connect_to(folder, PORT).await
}

async fn connect_to(folder: &Path, port: u16) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host_path(home(folder)).port(port).user("shop").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The folder of its data and of its socket.
fn home(folder: &Path) -> PathBuf {
    folder.join("postgres")
}

/// A program of the newest PostgreSQL here; Debian has them beside each other and off the path.
fn program(name: &str, home: &Path) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let debian = versions.max_by_key(number).map(|folder| folder.join("bin").join(name));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join(name));
    let found = debian.into_iter().chain(on_path).find(|path| path.exists());
    let found = found.unwrap_or_else(|| panic!("expected {name} of PostgreSQL, found none: install postgresql"));
    let mut command = Command::new(found);
    command.current_dir(home).stdin(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
