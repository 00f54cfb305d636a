//! What a stranger shows to be let in, and what somebody who makes a key asks for.

use http::HeaderValue;
use quipu_api::key::{CreateKey, RotateKey};
use quipu_domain::access::{Narrowing, Token};
use quipu_domain::{Access, Event, Grant, Pattern, Permission, Value};
use quipu_server::identity::reads_token;
use quipu_server::{basic, bearer};

/// A value of `Authorization`: a key that is read is written as it was, and is there in the text, or in what its base64 says.
pub fn credential(bytes: &[u8]) -> bool {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
    let password = basic(&value);
    assert!(password.is_none() || bytes[..5].eq_ignore_ascii_case(b"basic"));
    let Some(text) = bearer(&value).or(password.as_deref()) else { return false };
    assert!(password.is_some() || bytes[..6].eq_ignore_ascii_case(b"bearer") && text == text.trim());
    let Some(token) = Token::parse(text) else { return false };
    assert_eq!(*token.secret.token(token.tenant, token.id), text);
    assert!(!format!("{token:?}").contains(&text[text.len() - 64..]));
    true
}

/// The header and the claims of a token, a line each: what is read has an algorithm, and nothing that must be understood.
pub fn token(bytes: &[u8]) -> bool {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let is_read = reads_token(header, claims);
    if is_read {
        let read: serde_json::Value = serde_json::from_slice(header).expect("a header that is read is JSON");
        assert!(read["alg"].as_str().is_some_and(|name| name != "none" && !name.starts_with("HS")));
        assert!(read.get("crit").is_none());
        assert!(serde_json::from_slice::<serde_json::Value>(claims).is_ok_and(|claims| claims.is_object()));
    }
    is_read
}

/// A key that is to be made, or rotated: what its grants allow is what one of them allows alone, and nothing beside.
pub fn grants(bytes: &[u8]) -> bool {
    let rotates = RotateKey::from_json(bytes).is_ok();
    let Ok(CreateKey { grants, user, .. }) = CreateKey::from_json(bytes) else { return rotates };
    let Ok(access) = Access::new(grants.clone(), user.as_deref()) else { return false };
    let text = serde_json::to_string(access.grants()).expect("grants are JSON");
    let again: Vec<Grant> = serde_json::from_str(&text).expect("what is written can be read");
    let again = Access::new(again, user.as_deref()).expect("what was taken is taken again");
    assert_eq!(serde_json::to_string(again.grants()).ok(), Some(text));
    for permission in Permission::ALL {
        let given = || grants.iter().filter(|grant| grant.permissions.contains(permission));
        let is_whole = |grant: &Grant| grant.pattern.is_none() && grant.subscriptions.is_none();
        assert_eq!(access.has(*permission), given().next().is_some(), "{permission}");
        let no_user = user.is_none() || permission.narrowing() != Narrowing::Events;
        assert_eq!(access.has_whole(*permission), no_user && given().any(is_whole), "{permission}");
        for name in ["billing", "bill", "mail.a", "x"] {
            let is_named = |wanted: &String| match wanted.strip_suffix('*') {
                Some(begin) => name.get(..begin.len()) == Some(begin),
                None => wanted == name,
            };
            let expected =
                given().any(|grant| grant.subscriptions.as_ref().is_none_or(|names| names.iter().any(is_named)));
            assert_eq!(access.has_for(*permission, name), expected, "{permission} {name}");
        }
    }
    for (kind, source, userid) in
        [("order.placed", "/shop", None), ("ping", "/x", Some("u1")), ("a", "b", user.as_deref())]
    {
        let event = Event::builder("1", source, kind).json("{\"total\":5}");
        let event = match userid {
            Some(userid) => event.attribute("userid", Value::Text(userid.to_owned().into())).build(),
            None => event.build(),
        };
        let Ok(event) = event else { continue };
        let is_own = user.is_none() || event.attribute("userid") == user.as_deref();
        let is_matched = |grant: &Grant| {
            let pattern = grant.pattern.as_ref().map(|pattern| Pattern::parse(pattern.get()).expect("it was taken"));
            pattern.is_none_or(|pattern| pattern.matches_event(&event, None))
        };
        let may = |permission| {
            is_own && grants.iter().any(|grant| grant.permissions.contains(&permission) && is_matched(grant))
        };
        assert!(!access.may_publish(&event) || may(Permission::Publish), "{kind} from {source} is published");
        let sees = access.visible().is_none_or(|visible| visible.shows(&event, None));
        assert!(!access.has(Permission::Read) || !sees || may(Permission::Read), "{kind} from {source} is seen");
    }
    true
}
