//! Keys of providers: new ones, old ones, and providers that cannot be reached or answer anything else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::provider::{Provider, RSA_ONE, Says, Signer};
use super::{NOW, believing, claims, plain, with};
use crate::access::{code, send};
use crate::host::Host;
use crate::platform::eventually;

const MINUTE_MS: i64 = 60_000;

/// Claims that are good for years.
fn lasting(provider: &Provider) -> Value {
    with(claims(provider, &["read"]), json!({"exp": NOW + 100_000_000}))
}

async fn status(host: &Host, token: &str) -> u16 {
    send(host, "GET", "/v1/access", Some(token), None).await.status
}

/// Until the provider was asked so often, and what it said is known: tokens of this key are then answered so.
async fn until(host: &Host, provider: &Provider, asked: usize, (token, expected): (&str, u16)) {
    eventually(async || (provider.asked() >= asked && status(host, token).await == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_found_by_its_first_token_and_an_old_one_ends_with_the_next_look() {
    let (first, second) = (Signer::new("first", "ES256"), Signer::rsa("second", "RS256", RSA_ONE));
    let provider = Provider::start(&[&first]).await;
    let host = believing(&[plain(&provider)]).await;
    let (old, new) = (first.token(&lasting(&provider)), second.token(&lasting(&provider)));
    assert_eq!(status(&host, &old).await, 200);
    assert_eq!(provider.asked(), 1);
    provider.publish(vec![first.jwk(), second.jwk()]);
    host.advance(10_000);
    assert_eq!((status(&host, &new).await, provider.asked()), (200, 2));
    provider.publish(vec![second.jwk()]);
    assert_eq!(status(&host, &old).await, 200);
    host.advance(10 * MINUTE_MS);
    // The one who finds the keys old is answered by them; the next look is beside.
    assert_eq!(status(&host, &new).await, 200);
    until(&host, &provider, 3, (&old, 401)).await;
    assert_eq!(status(&host, &new).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_many_ids_has_the_provider_asked_once_in_ten_seconds() {
    let (known, stranger) = (Signer::new("known", "ES256"), Signer::new("unknown", "ES256"));
    let provider = Provider::start(&[&known]).await;
    let host = believing(&[plain(&provider)]).await;
    let good = known.token(&lasting(&provider));
    assert_eq!(status(&host, &good).await, 200);
    for round in 1..=3 {
        host.advance(10_000);
        let tokens: Vec<_> = (0..20)
            .map(|number| {
                let header = json!({"alg": "ES256", "kid": format!("{round}-{number}")});
                stranger.token_with(header, &lasting(&provider))
            })
            .collect();
        let asked = tokens.iter().map(|token| status(&host, token));
        assert!(futures_util::future::join_all(asked).await.iter().all(|status| *status == 401));
        assert_eq!(provider.asked(), 1 + round);
        assert_eq!(status(&host, &good).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_good_for_six_hours_while_the_provider_cannot_be_reached_and_no_longer() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = believing(&[plain(&provider)]).await;
    let (token, other) =
        (signer.token(&lasting(&provider)), signer.token(&with(lasting(&provider), json!({"sub": "bob"}))));
    assert_eq!(status(&host, &token).await, 200);
    provider.fail();
    for hour in 1..=5 {
        host.advance(60 * MINUTE_MS);
        assert_eq!((status(&host, &token).await, status(&host, &other).await), (200, 200), "after {hour} hours");
    }
    host.advance(60 * MINUTE_MS);
    for token in [&token, &other] {
        let refused = send(&host, "GET", "/v1/access", Some(token), None).await;
        assert_eq!((refused.status, code(&refused).as_str()), (503, "provider-unreachable"), "{refused:?}");
    }
    provider.publish(vec![signer.jwk()]);
    host.advance(10_000);
    assert_eq!((status(&host, &token).await, status(&host, &other).await), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_anything_else_has_no_keys_and_takes_none_away() {
    let signer = Signer::new("one", "ES256");
    let elsewhere = Provider::start(&[&signer]).await;
    let document = |text: String| Says::Document(text);
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.jwks_url());
    let huge = format!(r#"{{"keys":[{}],"more":"{}"}}"#, signer.jwk(), "x".repeat(300 << 10));
    for (what, says) in [
        ("garbage", document("no JSON".into())),
        ("no keys", document(r#"{"keys":[]}"#.into())),
        ("other keys", document(r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}"#.into())),
        ("too many keys", document(json!({"keys": vec![signer.jwk(); 65]}).to_string())),
        ("a huge document", document(huge)),
        ("a redirect", Says::Bytes(redirect.into_bytes())),
        ("a cut answer", Says::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec())),
        ("no HTTP", Says::Bytes(b"220 mail.example ESMTP\r\n".to_vec())),
        ("nothing", Says::Silence),
    ] {
        let provider = Provider::start(&[&signer]).await;
        let host = believing(&[plain(&provider)]).await;
        let token = signer.token(&lasting(&provider));
        assert_eq!(status(&host, &token).await, 200);
        let asked = provider.asked();
        provider.say("/keys", says.clone());
        host.advance(11 * MINUTE_MS);
        assert_eq!(status(&host, &token).await, 200, "{what}");
        eventually(async || (provider.asked() > asked).then_some(())).await;
        assert_eq!(status(&host, &token).await, 200, "{what}");
        // Where it said so from the beginning there are none, and one who waits is answered in time.
        let begin = Instant::now();
        let host = believing(&[plain(&provider)]).await;
        let refused = send(&host, "GET", "/v1/access", Some(&token), None).await;
        assert_eq!((refused.status, code(&refused).as_str()), (503, "provider-unreachable"), "{what}: {refused:?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{what}");
    }
    assert_eq!(elsewhere.all_asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_another_issuer_is_not_believed() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let path = "/realms/shop/.well-known/openid-configuration";
    let other = json!({"issuer": "https://evil.example", "jwks_uri": provider.jwks_url()});
    provider.say(path, Says::Document(other.to_string()));
    let host = believing(&[plain(&provider)]).await;
    let token = signer.token(&lasting(&provider));
    assert_eq!((status(&host, &token).await, provider.asked()), (503, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keys_with_one_id_either_may_have_signed_and_without_an_id_only_the_one() {
    let (first, second) = (Signer::new("same", "ES256"), Signer::new("same", "ES256"));
    let stranger = Signer::new("same", "ES256");
    let provider = Provider::start(&[&first, &second]).await;
    let host = believing(&[plain(&provider)]).await;
    for (signer, expected) in [(&first, 200), (&second, 200), (&stranger, 401)] {
        assert_eq!(status(&host, &signer.token(&lasting(&provider))).await, expected);
        let nameless = signer.token_with(json!({"alg": "ES256"}), &lasting(&provider));
        assert_eq!(status(&host, &nameless).await, 401);
    }
    let single = Provider::start(&[&first]).await;
    let host = believing(&[plain(&single)]).await;
    assert_eq!(status(&host, &first.token_with(json!({"alg": "ES256"}), &lasting(&single))).await, 200);
    assert_eq!(status(&host, &second.token_with(json!({"alg": "ES256"}), &lasting(&single))).await, 401);
}
