//! An identity provider: an HTTP server that publishes its configuration and its keys, and whoever signs with these.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a provider answers for a path.
#[derive(Clone)]
pub enum Says {
    Document(String),
    /// Bytes as they are, head and all.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

type Pages = Arc<Mutex<HashMap<String, Says>>>;

pub struct Provider {
    pub address: SocketAddr,
    pages: Pages,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    /// That publishes these keys.
    pub async fn start(keys: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pages, asked) = (Pages::default(), Arc::<Mutex<Vec<String>>>::default());
        let provider = Self { address, pages: Arc::clone(&pages), asked: Arc::clone(&asked) };
        provider.publish(keys.iter().map(|key| key.jwk()).collect());
        provider.say("/realms/shop/.well-known/openid-configuration", provider.configuration());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (pages, asked) = (Arc::clone(&pages), Arc::clone(&asked));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0)
                    {
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let says = pages.lock().unwrap().get(&path).cloned();
                    asked.lock().unwrap().push(path);
                    let answer = |status: &str, body: &str| {
                        let length = body.len();
                        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                            .into_bytes()
                    };
                    let bytes = match says {
                        None => answer("404 Not Found", ""),
                        Some(Says::Document(text)) => answer("200 OK", &text),
                        Some(Says::Bytes(bytes)) => bytes,
                        Some(Says::Silence) => std::future::pending().await,
                    };
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/realms/shop", self.address)
    }

    pub fn jwks_url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn configuration(&self) -> Says {
        let issuer = self.issuer();
        let more = format!("{issuer}/token");
        let keys = self.jwks_url();
        Says::Document(json!({"issuer": issuer, "jwks_uri": keys, "token_endpoint": more}).to_string())
    }

    /// Puts these keys in the place of those before.
    pub fn publish(&self, keys: Vec<Value>) {
        self.say("/keys", Says::Document(json!({ "keys": keys }).to_string()));
    }

    pub fn say(&self, path: &str, says: Says) {
        self.pages.lock().unwrap().insert(path.to_owned(), says);
    }

    /// Cannot be reached any more, as far as its keys go.
    pub fn fail(&self) {
        self.say("/keys", Says::Bytes(b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n".to_vec()));
    }

    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| *path == "/keys").count()
    }

    /// Everything that was asked for.
    pub fn all_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Somebody with a private key.
pub struct Signer {
    pub id: Option<String>,
    pub algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

pub const RSA_ONE: &[u8] = include_bytes!("one.der");
pub const RSA_TWO: &[u8] = include_bytes!("two.der");

impl Signer {
    /// With an RSA key of the tests, which take long to make.
    pub fn rsa(id: &str, algorithm: &'static str, der: &[u8]) -> Self {
        Self { id: Some(id.into()), algorithm, pair: Pair::Rsa(RsaKeyPair::from_der(der).unwrap()) }
    }

    /// With a key of its own.
    pub fn new(id: &str, algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        let ecdsa = |kind| {
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
        };
        let pair = match algorithm {
            "ES256" => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            _ => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
        };
        Self { id: Some(id.into()), algorithm, pair }
    }

    /// Its public key, as providers publish it.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": text(&n), "e": text(&e)})
            }
            Pair::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": if x.len() == 32 { "P-256" } else { "P-384" }, "x": text(x), "y": text(y)})
            }
            Pair::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())}),
        };
        key["use"] = json!("sig");
        if let Some(id) = &self.id {
            key["kid"] = json!(id);
        }
        key
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(json!({"typ": "JWT", "alg": self.algorithm, "kid": self.id}), claims)
    }

    /// With another header.
    pub fn token_with(&self, header: Value, claims: &Value) -> String {
        let message = unsigned(&header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let way: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(way, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// What is signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let mut header = header.clone();
    if header["kid"].is_null() {
        header.as_object_mut().unwrap().remove("kid");
    }
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", text(&header), text(claims))
}
