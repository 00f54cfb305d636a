//! Every operation of the catalogue with tokens: wrong ones, with each role but its own, with its own, and of another tenant.

use futures_util::future::join_all;
use quipu_api::OPERATIONS;
use quipu_api::catalogue::Needs;
use quipu_domain::Permission;
use serde_json::json;

use super::provider::{Provider, Signer};
use super::{believing, claims, plain, with};
use crate::access::{ask, code, everything, fill, in_a_tenant, key, without_chance};

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_a_valid_token_and_its_permission() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let host = believing(&[plain(&provider)]).await;
    let words: Vec<&str> = in_a_tenant().map(|one| one.as_str()).collect();
    let wrong = signer.token(&with(claims(&provider, &words), json!({"aud": "other"})));
    let nobodys = signer.token(&with(claims(&provider, &words), json!({"tenant": "nobody"})));
    let asked = OPERATIONS.iter().flat_map(|operation| [&wrong, &nobodys].map(|token| (operation, token)));
    let answers = join_all(asked.map(async |(operation, token)| (operation, ask(&host, operation, Some(token)).await)));
    for (operation, answer) in answers.await {
        let is_open = operation.needs == Needs::Nothing;
        assert_eq!(answer.status != 401, is_open, "{}: {answer:?}", operation.name);
        assert!(is_open || code(&answer) == "unauthenticated", "{}", operation.name);
    }
    for operation in OPERATIONS {
        let of = |words: &[&str]| signer.token(&claims(&provider, words));
        let (needed, other) = match operation.needs {
            Needs::Permission(needed) | Needs::Part(needed) => (needed, None),
            Needs::Either(needed, other) => (needed, Some(other)),
            Needs::Nothing | Needs::Credential => {
                assert_ne!(ask(&host, operation, Some(&of(&[]))).await.status, 401, "{}", operation.name);
                continue;
            }
        };
        let is_needed = |word: &str| word == needed.as_str() || other.is_some_and(|other| word == other.as_str());
        let others: Vec<&str> = words.iter().copied().filter(|word| !is_needed(word)).collect();
        let refused = ask(&host, operation, Some(&of(&others))).await;
        assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{}", operation.name);
        let allowed = ask(&host, operation, Some(&of(&[needed.as_str()]))).await;
        if needed == Permission::Operate {
            // What is for all tenants no role gives in one.
            assert_eq!(allowed.status, 403, "{}: {allowed:?}", operation.name);
            continue;
        }
        assert!(!matches!(allowed.status, 401 | 403), "{}: {allowed:?}", operation.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_of_another_tenant_everything_is_as_if_the_tenant_did_not_exist() {
    let signer = Signer::new("one", "ES256");
    let provider = Provider::start(&[&signer]).await;
    let (alone, beside) = (believing(&[plain(&provider)]).await, believing(&[plain(&provider)]).await);
    let words: Vec<&str> = in_a_tenant().map(|one| one.as_str()).collect();
    // The tenant of the tests is empty in one world and full in the other; who asks is in another tenant.
    fill(&beside, &key(&beside, everything())).await;
    let filled = beside.tenant.position();
    let token = signer.token(&with(claims(&provider, &words), json!({"tenant": "other"})));
    for operation in OPERATIONS {
        let mut answers = Vec::new();
        for host in [&alone, &beside] {
            answers.push(without_chance(&ask(host, operation, Some(&token)).await));
        }
        assert_eq!(answers[0], answers[1], "{}", operation.name);
    }
    assert!(filled >= 20 && beside.tenant.position() == filled);
}
