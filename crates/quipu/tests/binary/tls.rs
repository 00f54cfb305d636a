//! TLS as its users meet it: a server that others reach, certificates that are replaced while it runs, and machines that have
//! to show one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::process::{DEADLINE, Ran, User, events, finish, lines};

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate in a file.
    pub fn file(&self, user: &User, name: &str) -> String {
        user.write(name, &self.0.pem())
    }

    /// A certificate for this machine, good until that year, in `<name>.crt`, and its key in `<name>.key`.
    pub fn issue(&self, user: &User, name: &str, year: i32) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        // Beside, and then moved to where they are looked for, as whatever renews certificates does.
        let put = |kind: &str, text: &str| {
            let (beside, path) = (user.write(&format!(".{name}.{kind}"), text), user.path(&format!("{name}.{kind}")));
            fs::set_permissions(&beside, Permissions::from_mode(0o600)).unwrap();
            fs::rename(&beside, &path).unwrap();
            path
        };
        [put("crt", &certificate), put("key", &key.serialize_pem())]
    }
}

/// The settings of a server with a certificate.
pub fn settings([certificate, key]: &[String; 2]) -> Vec<String> {
    let set = |key: &str, value: &str| ["--set".to_owned(), format!("{key}={value}")];
    [set("tls_certificate_file", certificate), set("tls_key_file", key)].concat()
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The next line that contains a text, and the lines before it.
fn wait_for(lines: &Receiver<String>, part: &str) -> (String, Vec<String>) {
    let mut before = Vec::new();
    loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("expected {part:?}, found {before:#?}"));
        if line.contains(part) {
            return (line, before);
        }
        before.push(line);
    }
}

fn with_key(command: &mut Command, key: &str) -> Ran {
    finish(command.env("QUIPU_KEY", key).stdin(Stdio::null()))
}

#[test]
fn an_address_that_others_reach_is_served_with_tls_and_keys_and_nothing_of_the_private_key_is_said() {
    let user = User::new();
    let authority = Authority::new("ours");
    let (ca, own) = (authority.file(&user, "ca.pem"), authority.issue(&user, "own", 2100));
    let (data, tls) = (user.path("data"), settings(&own));
    let serve = |more: &[&str]| user.command(&[&["serve", "--listen", "0.0.0.0:0", "--data", &data], more].concat());
    let without = finish(&mut serve(&[])).ended(2).stderr;
    assert!(without.contains("tls_certificate_file") && without.contains("--insecure-listen-anywhere"), "{without}");
    assert!(!user.home.path().join("data").exists(), "nothing was made");
    let keyless = finish(&mut serve(&strs(&tls))).ended(2).stderr;
    assert!(keyless.contains("quipu key create admin --may administer"), "{keyless}");
    let key = user.run(&["key", "create", "all", "--may", "read", "--may", "publish", "--data", &data]).ok();
    let key = key.stdout.trim();

    let mut server = serve(&[&strs(&tls)[..], &["--set", "log=trace"]].concat());
    let mut child = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = lines(child.stderr.take().unwrap());
    let (listening, mut said) = wait_for(&lines, "listening on https://0.0.0.0:");
    let port = listening.split("0.0.0.0:").nth(1).unwrap().split(',').next().unwrap();
    let (_, more) = wait_for(&lines, "every request needs a key");
    let url = format!("https://127.0.0.1:{port}");
    let list = |more: &[&str], key: &str| with_key(&mut user.command(&[&["event", "list"], more].concat()), key);
    list(&["--url", &url, "--ca-file", &ca], key).ok();
    let nobody = user.run(&["event", "list", "--url", &url, "--ca-file", &ca]);
    let untrusted = list(&["--url", &url], key);
    let plain = list(&["--url", &format!("http://127.0.0.1:{port}")], key);
    with_key(user.command(&["event", "list"]).env("QUIPU_URL", &url).env("QUIPU_CA_FILE", &ca), key).ok();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(nobody.ended(1).stderr.contains("[unauthenticated]"));
    let untrusted = untrusted.ended(4).stderr;
    assert!(untrusted.contains("UnknownIssuer") && untrusted.contains("--ca-file FILE"), "{untrusted}");
    assert!(plain.ended(1).stderr.contains("[tls-required]"));

    said.extend(more);
    said.extend(lines);
    let private = fs::read_to_string(&own[1]).unwrap();
    let said = said.join("\n");
    assert!(private.lines().filter(|line| !line.starts_with("--")).all(|line| !said.contains(line)));
    assert!(!said.contains("PRIVATE KEY") && said.contains("HTTP without TLS"), "{said}");
}

#[test]
fn machines_show_a_certificate_or_are_told_to() {
    let user = User::new();
    let (ours, clients) = (Authority::new("ours"), Authority::new("of clients"));
    let ca = ours.file(&user, "ca.pem");
    let mut args = settings(&ours.issue(&user, "own", 2100));
    args.push("--set".to_owned());
    args.push(format!("tls_client_authorities_file={}", clients.file(&user, "clients.pem")));
    args.push("--temporary".to_owned());
    let server = user.serve(&strs(&args));
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    assert!(server.said.iter().any(|line| line.contains("wss://127.0.0.1:")), "{:?}", server.said);
    let stats = |more: &[&str]| user.run(&[&["store", "stats", "--url", &server.url, "--ca-file", &ca], more].concat());
    let [certificate, key] = clients.issue(&user, "machine", 2100);
    stats(&["--certificate-file", &certificate, "--certificate-key-file", &key]).ok();
    let missing = stats(&[]).ended(4).stderr;
    assert!(missing.contains("CertificateRequired") && missing.contains("--certificate-file FILE"), "{missing}");
    let [foreign, foreign_key] = ours.issue(&user, "foreign", 2100);
    let foreign = stats(&["--certificate-file", &foreign, "--certificate-key-file", &foreign_key]).ended(4).stderr;
    assert!(foreign.contains("UnknownCA") && foreign.contains("--certificate-file FILE"), "{foreign}");
    // What makes no sense is said before anybody is called.
    assert!(stats(&["--certificate-file", &certificate]).ended(2).stderr.contains("expected both or neither"));
    assert!(
        stats(&["--certificate-file", &certificate, "--certificate-key-file", &foreign_key])
            .ended(2)
            .stderr
            .contains("found another")
    );
    // A key that is bound to a certificate is good beside that one.
    let [other, other_key] = clients.issue(&user, "other", 2100);
    let shown = ["--certificate-file", &certificate, "--certificate-key-file", &key];
    let der = CertificateDer::from_pem_file(&certificate).unwrap();
    let fingerprint: Vec<_> = digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let fingerprint = fingerprint.join(":");
    let called = ["--url", &server.url, "--ca-file", &ca];
    let create = ["key", "create", "bound", "--may", "observe", "--certificate", &fingerprint];
    let bound = user.run(&[&create[..], &called, &shown].concat()).ok();
    let use_it = |shown: &[&str]| {
        with_key(&mut user.command(&[&["store", "stats"], &called[..], shown].concat()), bound.stdout.trim())
    };
    use_it(&shown).ok();
    let refused = use_it(&["--certificate-file", &other, "--certificate-key-file", &other_key]).ended(1).stderr;
    assert!(refused.contains("bound to a certificate, on a connection that has not shown it"), "{refused}");
    user.run(&["key", "create", "x", "--may", "read", "--certificate", "7"]).ended(2);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let open = stats(&["--certificate-file", &certificate, "--certificate-key-file", &key]).ended(2).stderr;
    assert!(open.contains("mode 0644"), "{open}");
}

#[test]
fn a_certificate_is_replaced_while_the_server_runs_and_a_broken_one_is_not_taken() {
    let user = User::new();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let [first_ca, second_ca] = [first.file(&user, "first.pem"), second.file(&user, "second.pem")];
    let own = first.issue(&user, "own", 2001);
    let mut server = user.serve(&[&strs(&settings(&own))[..], &["--temporary"]].concat());
    let url = server.url.clone();
    // It may be among the first that it says.
    let ended = "the certificate ended on 2001-01-01";
    if !server.said.iter().any(|line| line.contains(ended)) {
        server.wait_for(ended);
    }
    first.issue(&user, "own", 2100);
    server.wait_for("new connections get the certificate that is there now, good until 2100-01-01");
    let open = |ca: &str| {
        let mut tail = user.command(&["event", "tail", "--url", &url, "--ca-file", ca, "--from", "start"]);
        tail.args(["--limit", "20", "-o", "ndjson"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let publish = |ca: &str, count: usize| {
        user.run_with(&["event", "publish", "-", "--url", &url, "--ca-file", ca], &events(count))
    };
    publish(&first_ca, 10).ok();
    let mut tail = open(&first_ca);
    let seen = lines(tail.stdout.take().unwrap());
    for _ in 0..10 {
        seen.recv_timeout(DEADLINE).unwrap();
    }
    second.issue(&user, "own", 2101);
    server.wait_for("good until 2101-01-01");
    assert!(publish(&first_ca, 20).ended(4).stderr.contains("UnknownIssuer"));
    publish(&second_ca, 20).ok();
    // The tail is still on its first connection: it could make no other.
    for _ in 0..10 {
        seen.recv_timeout(DEADLINE).unwrap();
    }
    assert!(tail.wait().unwrap().success());
    user.write("own.crt", "no certificate");
    let said = server.wait_for("are no use");
    assert!(
        said.contains("own.crt: expected the certificate of the server as PEM") && said.contains("ERROR"),
        "{said}"
    );
    user.run(&["store", "stats", "--url", &url, "--ca-file", &second_ca]).ok();
}
