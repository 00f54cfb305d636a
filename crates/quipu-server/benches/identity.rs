//! What a token costs a request, with the keys of its provider known: one whose text was seen before, and one that is checked
//! from its signature on. `cargo bench -p quipu-server --bench identity`.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quipu_domain::Timestamp;
use quipu_engine::{Clock, Engine, Options, Random, Tenant, World};
use quipu_server::Providers;
use quipu_server::identity::Identity;
use quipu_store::DiskStorage;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
/// More than are remembered, so that one after the other each is a stranger again.
const TOKENS: usize = 5_000;
const NOW: i64 = 1_769_851_800;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(NOW * 1_000_000)
    }
}

struct Dice;

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system has chance");
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Tokens as a large provider writes them, each for somebody else.
fn tokens(algorithm: &str, issuer: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<String> {
    let header = text(json!({"typ":"JWT","alg":algorithm,"kid":algorithm}).to_string().as_bytes());
    let token = |number: usize| {
        let claims = json!({
            "exp": NOW + 300, "iat": NOW, "jti": format!("0b6a9f0c-5d2f-4c53-9f0a-{number:012}"), "iss": issuer,
            "aud": ["quipu", "account"], "sub": format!("36fa0f91-f94d-4a0c-afed-{number:012}"), "typ": "Bearer",
            "azp": "shop-web", "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e", "acr": "1",
            "allowed-origins": ["https://shop.example.com"],
            "realm_access": {"roles": ["offline_access", "default-roles-shop", "uma_authorization", "publisher"]},
            "resource_access": {"account": {"roles": ["manage-account", "manage-account-links", "view-profile"]}},
            "scope": "openid email profile", "tenant": "bench", "email_verified": true, "name": "Ada Lovelace",
            "preferred_username": "ada", "given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.com",
        });
        let message = format!("{header}.{}", text(claims.to_string().as_bytes()));
        let signature = text(&sign(message.as_bytes()));
        format!("{message}.{signature}")
    };
    (0..TOKENS).map(token).collect()
}

/// Serves these keys for ever.
fn publish(keys: &[Value]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = json!({ "keys": keys }).to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4_096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}/keys")
}

async fn measure(name: &str, identity: &Identity, tenant: &Arc<Tenant>, texts: &[String], each: usize) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for n in 0..each {
            let text = black_box(&texts[n % texts.len()]);
            let verified = identity.verify(text, tenant.now(), |_| Some(Arc::clone(tenant))).await;
            assert!(black_box(verified).is_ok_and(|verified| verified.access().grants().len() == 1));
        }
        rounds.push(begin.elapsed().as_nanos() as f64 / 1e3 / each as f64);
    }
    rounds.sort_by(f64::total_cmp);
    let (median, fastest, slowest) = (rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    eprintln!("{name:<34} us {median:.2}   fastest {fastest:.2}   slowest {slowest:.2}");
    println!("{{\"bench\":\"{name}\",\"us\":{median:.3},\"fastest\":{fastest:.3},\"slowest\":{slowest:.3}}}");
}

fn main() {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::from_der(include_bytes!("../tests/server/identity/one.der")).expect("a key");
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
    let PublicKeyComponents::<Vec<u8>> { n, e } = rsa.public().into();
    let (x, y) = ecdsa.public_key().as_ref()[1..].split_at(32);
    let jwks = publish(&[
        json!({"kty":"RSA","kid":"RS256","use":"sig","alg":"RS256","n":text(&n),"e":text(&e)}),
        json!({"kty":"EC","kid":"ES256","use":"sig","alg":"ES256","crv":"P-256","x":text(x),"y":text(y)}),
    ]);
    let issuer = "https://login.example.com/realms/shop";
    let providers = json!([{
        "issuer": issuer, "audiences": ["quipu"], "jwks": jwks, "tenant": {"claim": "tenant"},
        "roles": {"claim": "realm_access.roles", "grants": {
            "publisher": [{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/shop"]}}],
        }},
    }]);
    let by_rsa = |message: &[u8]| {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("signed");
        signature
    };
    let by_ecdsa = |message: &[u8]| ecdsa.sign(&random, message).expect("signed").as_ref().to_vec();
    let all = [("RS256", tokens("RS256", issuer, by_rsa)), ("ES256", tokens("ES256", issuer, by_ecdsa))];
    let folder = tempfile::tempdir().expect("a folder");
    let world =
        World { storage: Arc::new(DiskStorage::new(folder.path())), clock: Arc::new(Still), random: Arc::new(Dice) };
    let engine = Engine::open(world, Options::default()).expect("it opens");
    let tenant = engine.tenant("bench").expect("it opens");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let identity =
            Identity::new(&Providers::from_json(&providers.to_string()).expect("valid")).expect("authorities");
        eprintln!("tokens of {} bytes and {} bytes", all[0].1[0].len(), all[1].1[0].len());
        for (algorithm, texts) in &all {
            // Gets the keys.
            assert!(identity.verify(&texts[0], tenant.now(), |_| Some(Arc::clone(&tenant))).await.is_ok());
            measure(&format!("tokens: {algorithm}, seen before"), &identity, &tenant, &texts[..1_000], 200_000).await;
            measure(&format!("tokens: {algorithm}, not seen before"), &identity, &tenant, texts, TOKENS).await;
        }
    });
}
