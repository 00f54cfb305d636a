//! Access tokens of the shapes of three known providers, with the settings that fit them; and each algorithm.

use serde_json::{Value, json};

use super::provider::{Provider, RSA_ONE, Signer};
use super::{NOW, believing, claims, plain};
use crate::access::{code, send};
use crate::host::Host;

const READER: &str = r#"[{"permissions":["read"]}]"#;
const PUBLISHER: &str = r#"[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}]}}]"#;

fn grants(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn access(host: &Host, token: &str) -> Value {
    let answer = send(host, "GET", "/v1/access", Some(token), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_keycloak_has_roles_of_the_realm_and_of_the_client() {
    let signer = Signer::rsa("FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE", "RS256", RSA_ONE);
    let provider = Provider::start(&[&signer]).await;
    let settings = |roles: Value| {
        json!({
            "issuer": provider.issuer(),
            "audiences": ["quipu"],
            "tenant": {"claim": "organization"},
            "roles": {"claim": roles, "grants": {"reader": grants(READER), "shop": grants(PUBLISHER)}},
        })
    };
    let token = signer.token(&json!({
        "exp": NOW + 300, "iat": NOW, "auth_time": NOW - 10,
        "jti": "onrtac:0b6a9f0c-5d2f-4c53-9f0a-0d3c0a0f6b1e",
        "iss": provider.issuer(),
        "aud": ["quipu", "account"],
        "sub": "36fa0f91-f94d-4a0c-afed-6b7d952e47da",
        "typ": "Bearer", "azp": "shop-web", "sid": "2a88c258-f73a-4103-b862-e1fbd8f4e04e", "acr": "1",
        "allowed-origins": ["https://shop.example.com"],
        "realm_access": {"roles": ["offline_access", "default-roles-shop", "uma_authorization", "reader"]},
        "resource_access": {"quipu": {"roles": ["shop"]}, "account": {"roles": ["manage-account"]}},
        "scope": "openid email profile organization",
        "organization": ["test"],
        "email_verified": true, "preferred_username": "ada", "email": "ada@example.com",
    }));
    let of_realm = access(&believing(&[settings(json!("realm_access.roles"))]).await, &token).await;
    assert_eq!((&of_realm["tenant"], &of_realm["grants"]), (&json!("test"), &grants(READER)), "{of_realm}");
    assert_eq!(of_realm["issuer"], provider.issuer());
    assert_eq!(of_realm["subject"], "36fa0f91-f94d-4a0c-afed-6b7d952e47da");
    assert_eq!(of_realm["expires"], "2026-01-31T09:35:30.000Z");
    let of_client = access(&believing(&[settings(json!("resource_access.quipu.roles"))]).await, &token).await;
    assert_eq!(of_client["grants"], grants(PUBLISHER), "{of_client}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_auth0_has_permissions_or_claims_with_a_namespace() {
    let signer = Signer::rsa("2rWYCt4wO3OI8rHBxJ8Lm", "RS256", RSA_ONE);
    let provider = Provider::start(&[&signer]).await;
    let settings = |roles: Value| {
        json!({
            "issuer": "https://shop.eu.auth0.com/",
            "jwks": provider.jwks_url(),
            "audiences": ["https://quipu.example/api"],
            "tenant": {"claim": "org_id", "names": {"org_9ybsU1dN2dKfDkBi": "test"}},
            "roles": {"claim": roles, "grants": {"events:read": grants(READER), "publisher": grants(PUBLISHER)}},
        })
    };
    let of_auth0 = json!({
        "https://quipu.example/roles": ["publisher", "other"],
        "iss": "https://shop.eu.auth0.com/",
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": ["https://quipu.example/api", "https://shop.eu.auth0.com/userinfo"],
        "iat": NOW, "exp": NOW + 86_400, "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja", "gty": "password",
        "scope": "openid profile events:read",
        "org_id": "org_9ybsU1dN2dKfDkBi",
        "permissions": ["events:read"],
    });
    let auth0 = signer.token(&of_auth0);
    // RFC 9068: another type, and client_id in place of azp.
    let mut of_rfc = of_auth0.clone();
    of_rfc["client_id"] = of_rfc["azp"].take();
    let rfc = signer.token_with(json!({"typ":"at+jwt","alg":"RS256","kid":signer.id}), &of_rfc);
    for (roles, expected) in
        [(json!("permissions"), READER), (json!("scope"), READER), (json!(["https://quipu.example/roles"]), PUBLISHER)]
    {
        let host = believing(&[settings(roles)]).await;
        for token in [&auth0, &rfc] {
            let access = access(&host, token).await;
            assert_eq!((&access["tenant"], &access["grants"]), (&json!("test"), &grants(expected)), "{access}");
            assert_eq!(access["subject"], "auth0|6553da60a54af58e29493993");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_entra_id_has_roles_a_directory_and_an_object_in_either_version() {
    let signer = Signer::rsa("nOo3ZDrODXEK1jKWhXslHR_KXEg", "RS256", RSA_ONE);
    let provider = Provider::start(&[&signer]).await;
    let directory = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
    let object = "00000000-0000-0000-66f3-3332eca7ea81";
    let settings = |issuer: String, audience: &str| {
        json!({
            "issuer": issuer,
            "jwks": provider.jwks_url(),
            "audiences": [audience],
            "algorithms": ["RS256"],
            "tenant": {"claim": "tid", "names": {directory: "test"}},
            "roles": {"claim": "roles", "grants": {"Events.Read": grants(READER)}},
            "user": "oid",
        })
    };
    let (first, second) = (
        format!("https://sts.windows.net/{directory}/"),
        format!("https://login.microsoftonline.com/{directory}/v2.0"),
    );
    let host = believing(&[
        settings(first.clone(), "api://quipu"),
        settings(second.clone(), "00001111-aaaa-2222-bbbb-3333cccc4444"),
    ])
    .await;
    let shared = json!({
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3_600,
        "idtyp": "user", "oid": object, "rh": "0.ARoA", "roles": ["Events.Read"], "scp": "access_as_user",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": directory, "uti": "fqiBqXLPj0eQa82S-IYFAA",
    });
    let old = super::with(
        shared.clone(),
        json!({"iss": first, "aud": "api://quipu", "ver": "1.0", "appid": "11112222-bbbb-3333-cccc-4444dddd5555",
               "appidacr": "1", "upn": "ada@example.com"}),
    );
    let new = super::with(
        shared,
        json!({"iss": second, "aud": "00001111-aaaa-2222-bbbb-3333cccc4444", "ver": "2.0",
               "azp": "11112222-bbbb-3333-cccc-4444dddd5555", "azpacr": "1"}),
    );
    let header = json!({"typ":"JWT","alg":"RS256","kid":signer.id,"x5t":signer.id});
    for (claims, issuer) in [(&old, &first), (&new, &second)] {
        let access = access(&host, &signer.token_with(header.clone(), claims)).await;
        assert_eq!((&access["tenant"], &access["grants"]), (&json!("test"), &grants(READER)), "{access}");
        assert_eq!((access["user"].as_str(), access["issuer"].as_str()), (Some(object), Some(issuer.as_str())));
    }
    // The audience of one version under the issuer of the other.
    let crossed = super::with(old.clone(), json!({ "iss": second }));
    let refused = send(&host, "GET", "/v1/access", Some(&signer.token_with(header, &crossed)), None).await;
    assert_eq!((refused.status, code(&refused).as_str()), (401, "unauthenticated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_asymmetric_algorithm_is_taken_and_only_with_a_key_for_it() {
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let mut signers: Vec<Signer> = rsa.iter().map(|algorithm| Signer::rsa("rsa", algorithm, RSA_ONE)).collect();
    signers.extend(["ES256", "ES384", "EdDSA"].map(|algorithm| Signer::new(algorithm, algorithm)));
    let provider = Provider::start(&[&signers[0], &signers[6], &signers[7], &signers[8]]).await;
    let only = |algorithm: &str| super::with(plain(&provider), json!({ "algorithms": [algorithm] }));
    let host = believing(&[plain(&provider)]).await;
    let narrow = believing(&[only("PS256")]).await;
    let status = async |host: &Host, token: &str| send(host, "GET", "/v1/access", Some(token), None).await.status;
    for signer in &signers {
        let token = signer.token(&claims(&provider, &["read"]));
        assert_eq!(status(&host, &token).await, 200, "{}", signer.algorithm);
        let expected = if signer.algorithm == "PS256" { 200 } else { 401 };
        assert_eq!(status(&narrow, &token).await, expected, "{}", signer.algorithm);
    }
    // The same signature under the name of another algorithm. All at once: each that is wrong waits.
    let all = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let pairs = signers.iter().flat_map(|signer| all.map(|other| (signer, other)));
    let asked = pairs.filter(|(signer, other)| signer.algorithm != *other).map(async |(signer, other)| {
        let token = signer.token_with(json!({"alg": other, "kid": signer.id}), &claims(&provider, &["read"]));
        (signer.algorithm, other, status(&host, &token).await)
    });
    for (own, other, status) in futures_util::future::join_all(asked).await {
        assert_eq!(status, 401, "{own} as {other}");
    }
}
