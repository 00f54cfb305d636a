//! "Publish when a request changes something", as a tower layer: all that a handler changes and publishes is one transaction, which
//! is committed before its answer leaves if that is a success, and rolled back if it is not.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use deadpool_postgres::{Object, Pool, PoolError};
use http::{Request, Response, StatusCode};
use quipu_domain::Event;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::{Client, Error};
use tower_layer::Layer;
use tower_service::Service;

use super::insert;

/// Commits only what is whole: in a transaction that a statement has failed in, COMMIT rolls back and says that all is well.
const COMMIT: &str = "SAVEPOINT quipu_is_whole; COMMIT";
const NOT_COMMITTED: &str = "the transaction of this request was not committed";

/// Gives each request a transaction, which its handler has as `Extension<Changes>`.
///
/// The transaction begins when the handler first asks for it, so a request that asks for nothing takes no connection. It is committed
/// when the handler has answered with a status from 200 to 399, **before** the answer leaves: whoever gets the answer knows that the
/// changes and the events are there. With any other status, if the handler panics, or if the client goes away, nothing is left of
/// it. If it cannot be committed, or a statement has failed and the handler has passed over that, the answer is 500.
///
/// Nobody can say of a connection that is lost during a commit whether it happened: the answer is 500 then as well, and a client that
/// asks again is to be recognised by the ids of what it asks for.
#[derive(Clone)]
pub struct OutboxLayer {
    pool: Pool,
}

impl OutboxLayer {
    /// With connections of this pool to the database that has the outbox.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl<S> Layer<S> for OutboxLayer {
    type Service = OutboxService<S>;

    fn layer(&self, inner: S) -> OutboxService<S> {
        OutboxService { inner, pool: self.pool.clone() }
    }
}

/// What [`OutboxLayer`] makes of a service.
#[derive(Clone)]
pub struct OutboxService<S> {
    inner: S,
    pool: Pool,
}

impl<S, B, R> Service<Request<B>> for OutboxService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<&'static str> + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was asked whether it is ready.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let changes = Changes(Arc::new(Mutex::new(State::Unused(self.pool.clone()))));
        request.extensions_mut().insert(changes.clone());
        Box::pin(async move {
            let response = inner.call(request).await?;
            let status = response.status();
            let ended = changes.end(status.is_success() || status.is_redirection()).await;
            Ok(match ended {
                Ok(()) => response,
                Err(_) => {
                    let mut failed = Response::new(R::from(NOT_COMMITTED));
                    *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    failed
                }
            })
        })
    }
}

/// The transaction of a request. Everything that has it shares it, and it ends with the request.
#[derive(Clone)]
pub struct Changes(Arc<Mutex<State>>);

enum State {
    Unused(Pool),
    Open(Open),
    Ended,
}

/// A connection in a transaction. Dropped as that, it is closed, and PostgreSQL rolls back.
struct Open(Option<Box<Object>>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(*connection));
        }
    }
}

/// Why a request has no transaction.
#[derive(Debug)]
pub enum NoTransaction {
    /// The pool has no connection.
    NotConnected(PoolError),
    /// The server refused, or has gone.
    Failed(Error),
    /// The request has been answered.
    Ended,
}

impl std::fmt::Display for NoTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected(error) => write!(f, "expected a connection to the database, found none: {error}"),
            Self::Failed(error) => write!(f, "{error}"),
            Self::Ended => {
                f.write_str("expected a request that goes on, found one that was answered: await what it changes")
            }
        }
    }
}

impl std::error::Error for NoTransaction {}

impl From<Error> for NoTransaction {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The connection of a request, in its transaction. Others that have the same [`Changes`] wait as long as it is held, and so does the
/// answer.
pub struct Transacting<'a>(MutexGuard<'a, State>);

impl Deref for Transacting<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        match &*self.0 {
            State::Open(Open(Some(connection))) => connection,
            _ => unreachable!("it is made of one that is open, and stays so while it is held"),
        }
    }
}

impl Changes {
    /// The connection to make changes with, in the transaction, which begins with the first call. `BEGIN`, `COMMIT` and `ROLLBACK` are
    /// the layer's.
    ///
    /// # Errors
    /// [`NoTransaction`].
    pub async fn transaction(&self) -> Result<Transacting<'_>, NoTransaction> {
        let mut state = self.0.lock().await;
        match &*state {
            State::Open(_) => {}
            State::Ended => return Err(NoTransaction::Ended),
            State::Unused(pool) => {
                let connection = pool.get().await.map_err(NoTransaction::NotConnected)?;
                // Its own before the first word: who goes away in the middle leaves a connection that nobody is to have again.
                let open = Open(Some(Box::new(connection)));
                if let Some(connection) = &open.0 {
                    connection.batch_execute("BEGIN").await?;
                }
                *state = State::Open(open);
            }
        }
        Ok(Transacting(state))
    }

    /// Writes an event to the outbox, in the transaction. Call it after the change that it tells of, when the rows that are changed
    /// are locked.
    ///
    /// # Errors
    /// [`NoTransaction`].
    pub async fn publish(&self, event: &Event<'_>) -> Result<(), NoTransaction> {
        Ok(insert(&*self.transaction().await?, event).await?)
    }

    async fn end(&self, commits: bool) -> Result<(), Error> {
        let mut state = self.0.lock().await;
        let State::Open(mut open) = std::mem::replace(&mut *state, State::Ended) else { return Ok(()) };
        let Some(connection) = &open.0 else { return Ok(()) };
        // An error leaves it in `open`, which closes it.
        connection.batch_execute(if commits { COMMIT } else { "ROLLBACK" }).await?;
        drop(open.0.take());
        Ok(())
    }
}
