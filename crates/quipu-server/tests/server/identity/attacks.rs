//! Tokens that are not what they say. Each gets the answer that a wrong key gets, and tells as little.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::provider::{Provider, RSA_ONE, RSA_TWO, Signer, unsigned};
use super::{NOW, believing, claims, plain, with};
use crate::access::{everything, key, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_is_a_wrong_credential_like_any_other() {
    let (signer, stranger) = (Signer::rsa("one", "RS256", RSA_ONE), Signer::rsa("one", "RS256", RSA_TWO));
    let provider = Provider::start(&[&signer]).await;
    let theirs = Signer::new("theirs", "ES256");
    let other = Provider::start(&[&theirs]).await;
    let evil = Provider::start(&[&stranger]).await;
    let host = believing(&[plain(&provider), plain(&other)]).await;
    let good = claims(&provider, &["read"]);
    let ask = async |token: &str| send(&host, "GET", "/v1/access", Some(token), None).await;
    assert_eq!(ask(&signer.token(&good)).await.status, 200);
    assert_eq!(ask(&theirs.token(&claims(&other, &["read"]))).await.status, 200);
    let header = json!({"typ":"JWT","alg":"RS256","kid":"one"});
    let with_header = |more: Value| with(header.clone(), more);
    // Signed with the text of the public key as the secret of an HMAC.
    let modulus = signer.jwk()["n"].as_str().unwrap().to_owned();
    let secrets =
        [URL_SAFE_NO_PAD.decode(&modulus).unwrap(), modulus.into_bytes(), signer.jwk().to_string().into_bytes()];
    let by_hmac = |secret: &[u8]| {
        let message = unsigned(&with_header(json!({"alg":"HS256"})), &good);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let none = |name: &str| unsigned(&with_header(json!({ "alg": name })), &good);
    let valid = signer.token(&good);
    let (body, signature) = valid.rsplit_once('.').unwrap();
    let mut tokens = vec![
        ("no signature", format!("{}.", none("none"))),
        ("no signature, in other letters", format!("{}.", none("nOnE"))),
        ("none with a signature", format!("{}.{signature}", none("none"))),
        ("another header", format!("{}.{signature}", unsigned(&with_header(json!({"typ": "at+jwt"})), &good))),
        ("an empty signature", format!("{body}.")),
        ("a cut signature", valid[..valid.len() - 4].to_owned()),
        ("other claims", format!("{}.{signature}", unsigned(&header, &with(good.clone(), json!({"tenant":"other"}))))),
        ("another's key", stranger.token(&good)),
        ("a key that comes along", stranger.token_with(with_header(json!({"jwk": stranger.jwk()})), &good)),
        (
            "the address of a key",
            stranger.token_with(with_header(json!({"jku": evil.jwks_url(), "x5u": evil.jwks_url()})), &good),
        ),
        ("a critical extension", signer.token_with(with_header(json!({"crit": ["b64"], "b64": true})), &good)),
        ("another type", signer.token_with(with_header(json!({"typ": "logout+jwt"})), &good)),
        ("the key of another issuer", theirs.token(&good)),
        ("the issuer of another key", signer.token(&with(good.clone(), json!({"iss": other.issuer()})))),
        ("a path as the id of a key", signer.token_with(with_header(json!({"kid": "../../../../dev/null"})), &good)),
        ("no issuer", signer.token(&with(good.clone(), json!({"iss": null})))),
        ("too large", signer.token(&with(good.clone(), json!({"padding": "x".repeat(16 << 10)})))),
    ];
    tokens.extend(secrets.iter().map(|secret| ("the public key as a secret", by_hmac(secret))));
    for more in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": format!("{}/", provider.issuer())}),
        json!({"iss": [provider.issuer()]}),
        json!({"aud": "other"}),
        json!({"aud": ["account", "quipu2"]}),
        json!({"aud": null}),
        json!({"aud": {"quipu": 1}}),
        json!({"exp": NOW - 31}),
        json!({"exp": null}),
        json!({"exp": "9999999999"}),
        json!({"exp": 1e300}),
        json!({"exp": -1}),
        json!({"nbf": NOW + 31}),
        json!({"nbf": "0"}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"tenant": null}),
        json!({"tenant": "nobody"}),
        json!({"tenant": "Test"}),
        json!({"tenant": "../test"}),
        json!({"tenant": ["test", "other"]}),
        json!({"tenant": {"name": "test"}}),
        json!({"tenant": 7}),
    ] {
        tokens.push(("claims", signer.token(&with(good.clone(), more))));
    }
    let wrong = key(&host, everything()).replace("qp_test_", "qp_nobody_");
    let expected = ask(&wrong).await;
    // All at once: each that is wrong waits, and not for the others.
    let asked = tokens.iter().map(async |(what, token)| (what, ask(token).await));
    for (what, answer) in futures_util::future::join_all(asked).await {
        assert_eq!((answer.status, answer.text()), (401, expected.text()), "{what}");
        assert_eq!(answer.header("www-authenticate"), expected.header("www-authenticate"), "{what}");
    }
    assert_eq!(evil.all_asked(), 0);
    assert_eq!(ask(&valid).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_of_wrong_types_and_unknown_ones_give_nothing() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = believing(&[plain(&provider)]).await;
    for roles in
        [json!(null), json!([]), json!({"read": true}), json!(7), json!(["Read", "operate", ""]), json!([["read"]])]
    {
        let token = signer.token(&with(claims(&provider, &[]), json!({ "roles": roles })));
        let access = send(&host, "GET", "/v1/access", Some(&token), None).await.json();
        assert_eq!(access["grants"], json!([]), "{roles}");
        for target in ["/v1/events", "/v1/tail", "/v1/keys", "/v1/stats"] {
            assert_eq!(send(&host, "GET", target, Some(&token), None).await.status, 403, "{roles} {target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_operates_the_server_gives_nothing_in_a_tenant() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let mut settings = plain(&provider);
    settings["roles"]["grants"] = json!({
        "operator": [{"permissions": ["operate", "administer"]}],
        "reader": [{"permissions": ["read"]}],
    });
    let host = believing(&[settings]).await;
    let token = signer.token(&claims(&provider, &["operator", "reader"]));
    let access = send(&host, "GET", "/v1/access", Some(&token), None).await.json();
    assert_eq!(access["grants"], json!([{"permissions": ["read"]}]));
    assert_eq!(send(&host, "GET", "/v1/keys", Some(&token), None).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_the_names_of_another_tenants_subscriptions_finds_none_of_them() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let mut settings = plain(&provider);
    settings["roles"]["grants"] =
        json!({"billing": [{"permissions": ["consume", "observe"], "subscriptions": ["billing"]}]});
    let host = believing(&[settings]).await;
    let all = key(&host, everything());
    let made = Some(("application/json", r#"{"name":"billing","start":"beginning"}"#));
    assert_eq!(send(&host, "POST", "/v1/subscriptions", Some(&all), made).await.status, 201);
    let body = Some(("application/json", "{}"));
    for (tenant, expected) in [("test", 200), ("other", 404)] {
        let token = signer.token(&with(claims(&provider, &["billing"]), json!({ "tenant": tenant })));
        let pulled = send(&host, "POST", "/v1/subscriptions/billing/pull", Some(&token), body).await;
        assert_eq!(pulled.status, expected, "{pulled:?}");
        let mail = send(&host, "POST", "/v1/subscriptions/mail/pull", Some(&token), body).await;
        assert_eq!(mail.status, 403, "{mail:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_has_the_events_of_its_user_only() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let mut settings = with(plain(&provider), json!({"user": "preferred_username"}));
    settings["roles"]["grants"] = json!({"customer": [{"permissions": ["read", "publish"]}]});
    let host = believing(&[settings]).await;
    let token =
        |user: Value| signer.token(&with(claims(&provider, &["customer"]), json!({ "preferred_username": user })));
    let (ada, bob) = (token(json!("ada")), token(json!("bob")));
    let event = |id: &str, user: &str| {
        crate::host::event(id, "a.b", "s").replacen('{', &format!("{{\"userid\":\"{user}\","), 1)
    };
    let publish = async |token: &str, event: &str| {
        send(&host, "POST", "/v1/events", Some(token), Some(("application/cloudevents+json", event))).await.status
    };
    assert_eq!(publish(&ada, &event("1", "ada")).await, 200);
    assert_eq!(publish(&ada, &event("2", "bob")).await, 403);
    assert_eq!(publish(&bob, &event("3", "bob")).await, 200);
    let page = send(&host, "GET", "/v1/events", Some(&ada), None).await.json();
    assert_eq!((page["events"].as_array().unwrap().len(), &page["events"][0]["id"]), (1, &json!("1")), "{page}");
    assert_eq!(send(&host, "GET", "/v1/access", Some(&token(json!(null))), None).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_many_tokens_waits_as_with_keys() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = believing(&[plain(&provider)]).await;
    let wrong = signer.token(&with(claims(&provider, &[]), json!({"aud": "other"})));
    for _ in 0..10 {
        assert_eq!(send(&host, "GET", "/v1/access", Some(&wrong), None).await.status, 401);
    }
    let begin = std::time::Instant::now();
    assert_eq!(send(&host, "GET", "/v1/access", Some(&wrong), None).await.status, 401);
    assert!(begin.elapsed().as_millis() >= 1_000);
}
