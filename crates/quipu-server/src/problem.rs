//! Refusals and faults as answers. The table of codes is in `quipu-api`; what a fault of the store means in it is
//! said here, since the contract does not know the store.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use quipu_api::{Code, MEDIA_PROBLEM, Problem};
use quipu_engine::Fault;

use crate::audited::Said;

/// The problem document as an answer.
pub(crate) fn respond(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem is JSON");
    let mut response = Response::new(Body::from(body));
    if let Some(code) = problem.code() {
        response.extensions_mut().insert(Said { code, detail: problem.detail.clone() });
    }
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_PROBLEM));
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"quipu\""));
    }
    if problem.retryable && problem.status == 429 {
        let seconds = problem.members.get("retryafter").and_then(serde_json::Value::as_u64).unwrap_or(60);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.retryable && problem.status == 503 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What was found or what stood against it, as an answer.
pub(crate) fn answer(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(|problem| respond(&problem))
}

/// A fault of the store that a request met, as the public sees it.
pub(crate) fn fault(fault: &Fault) -> Problem {
    let problem = of_fault(fault);
    if !matches!(problem.code(), Some(Code::Overloaded | Code::StorageQuotaExceeded)) {
        tracing::error!(code = problem.code, %fault, "a request met a fault");
    }
    problem
}

/// A fault of the store as the public sees it.
pub(crate) fn of_fault(fault: &Fault) -> Problem {
    let code = match fault {
        Fault::DiskFull { .. } => Code::DiskFull,
        Fault::StorageQuota { .. } => Code::StorageQuotaExceeded,
        Fault::Damaged { .. } => Code::Damaged,
        Fault::Overloaded { .. } => Code::Overloaded,
        Fault::Poisoned { .. }
        | Fault::Unindexed { .. }
        | Fault::Closed
        | Fault::Fenced { .. }
        | Fault::Locked { .. } => Code::Unavailable,
        Fault::Io { .. } | Fault::CommitTooLarge { .. } | Fault::UnknownFormat { .. } => Code::Internal,
    };
    let problem = Problem::new(code, fault.to_string());
    match fault {
        Fault::StorageQuota { limit } => problem.with("limit", *limit),
        _ => problem,
    }
}

/// A task of ours ended without an answer: a bug, or the server is going down.
pub(crate) fn no_answer() -> Problem {
    Problem::new(
        Code::Unavailable,
        "expected an answer of the store, found that it is closing; repeat with the same ids",
    )
}

/// Runs what may touch the disk off the threads that serve sockets.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| fault(&error)),
        Err(error) => {
            tracing::error!(%error, "a read failed");
            Err(Problem::new(Code::Internal, "the read failed; the log of the server says why"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_code() {
        let path = String::from("log");
        for (given, code) in [
            (Fault::io("read", "log", std::io::ErrorKind::Other.into()), Code::Internal),
            (Fault::DiskFull { path: path.clone() }, Code::DiskFull),
            (Fault::Damaged { path: path.clone(), offset: 1, detail: "x".into() }, Code::Damaged),
            (Fault::Poisoned { cause: "x".into() }, Code::Unavailable),
            (Fault::Unindexed { cause: "x".into() }, Code::Unavailable),
            (Fault::Locked { path: path.clone() }, Code::Unavailable),
            (Fault::Fenced { expected: 1, actual: 2 }, Code::Unavailable),
            (Fault::Overloaded { waiting: 1, limit: 1 }, Code::Overloaded),
            (Fault::StorageQuota { limit: 1 }, Code::StorageQuotaExceeded),
            (Fault::CommitTooLarge { bytes: 2, limit: 1 }, Code::Internal),
            (Fault::Closed, Code::Unavailable),
            (Fault::UnknownFormat { path, found: "9".into() }, Code::Internal),
        ] {
            assert_eq!(fault(&given).code(), Some(code), "{given}");
        }
    }
}
