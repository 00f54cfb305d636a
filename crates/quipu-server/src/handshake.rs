//! The handshake of a WebSocket (RFC 6455, section 4.2): what a request must say, and the answer to it.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;
use quipu_api::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A request that asks for a WebSocket as it should.
pub(crate) struct Handshake {
    /// Becomes the connection, once the answer is on its way.
    pub upgrade: OnUpgrade,
    /// What the answer proves with that it was read.
    pub accept_key: String,
}

impl Handshake {
    /// Reads the request, or says what it has instead.
    pub(crate) fn read(request: &mut Request<Body>) -> Result<Self, &'static str> {
        let headers = request.headers();
        if request.method() != Method::GET {
            return Err("another method than GET");
        }
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err("no upgrade in the header Connection");
        }
        if !has_token(headers, &header::UPGRADE, "websocket") {
            return Err("no websocket in the header Upgrade");
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err("no version 13 in the header Sec-WebSocket-Version");
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else { return Err("no header Sec-WebSocket-Key") };
        let accept_key = derive_accept_key(key.as_bytes());
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            return Err("a connection that cannot become a WebSocket");
        };
        Ok(Self { upgrade, accept_key })
    }
}

/// The answer after which the connection is a WebSocket.
pub(crate) fn answer(accept_key: &str) -> Response {
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(accept_key).expect("base64 is a header")),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Whether the client offers our subprotocol.
pub(crate) fn offers_subprotocol(headers: &HeaderMap) -> bool {
    tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|found| found == SUBPROTOCOL)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
