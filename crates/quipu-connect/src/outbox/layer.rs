//! "Publish when a request changes something", as a tower layer: all that a handler changes and publishes is one transaction, which
//! is committed before its answer leaves if that is a success, and rolled back if it is not.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use deadpool_postgres::{ClientWrapper, Object, Pool, PoolError};
use http::{Request, Response, StatusCode};
use quipu_domain::Event;
use tokio_postgres::Error;
use tower_layer::Layer;
use tower_service::Service;

use super::insert;

pub use deadpool_postgres;

/// Commits only what is whole: in a transaction that a statement has failed in, COMMIT rolls back and says that all is well.
const COMMIT: &str = "SAVEPOINT quipu_is_whole; COMMIT";
const NOT_COMMITTED: &str = "the transaction of this request was not committed";

/// Gives each request a transaction, which its handler has as `Extension<Changes>`.
///
/// The transaction begins when the handler first asks for it, so a request that asks for nothing takes no connection. It is committed
/// when the handler has answered with a status from 200 to 399, **before** the answer leaves: whoever gets the answer knows that the
/// changes and the events are there. With any other status, if the handler panics, or if the client goes away before that, nothing is
/// left of it. If it cannot be committed, or a statement has failed and the handler has passed over that, the answer is 500, and
/// its extensions have [`NotCommitted`], which says why.
///
/// Nobody can say of a connection that is lost during a commit whether it happened, nor hears a client of it that goes away then: one
/// that asks again is to be recognised by the ids of what it asks for.
///
/// A body that is a stream must not read from the transaction: that has ended by then. What a handler changes of the session
/// (`SET ROLE`, `LISTEN`, temporary tables) outlives the request, unless the pool cleans up: use `RecyclingMethod::Clean`. Within
/// another [`OutboxLayer`] this one does nothing: there is one transaction a request.
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

/// Why a request was answered with 500 by the layer; in the extensions of the answer, for whoever writes a log.
#[derive(Clone, Debug)]
pub struct NotCommitted(pub Arc<NoTransaction>);

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
        if request.extensions().get::<Changes>().is_some() {
            return Box::pin(async move { inner.call(request).await });
        }
        let changes = Changes(Arc::new(Mutex::new(State::Unused(self.pool.clone()))));
        request.extensions_mut().insert(changes.clone());
        Box::pin(async move {
            // Whatever becomes of the request, nobody has its transaction afterwards.
            let ending = Ending(changes);
            let response = inner.call(request).await?;
            let status = response.status();
            match ending.end(status.is_success() || status.is_redirection()).await {
                Ok(()) => Ok(response),
                Err(reason) => {
                    let mut failed = Response::new(R::from(NOT_COMMITTED));
                    *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    failed.extensions_mut().insert(NotCommitted(Arc::new(reason)));
                    Ok(failed)
                }
            }
        })
    }
}

/// The transaction of a request. Everything that has it shares it, one at a time, and it ends with the request.
#[derive(Clone)]
pub struct Changes(Arc<Mutex<State>>);

enum State {
    Unused(Pool),
    Open(Open),
    /// Somebody has it.
    Lent,
    Ended,
}

/// A connection in a transaction. Dropped as that, it is closed, and PostgreSQL rolls back.
struct Open(Option<Box<Object>>);

impl Open {
    /// The transaction has ended: the next request may have the connection.
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Open {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.0.as_ref().expect("it is taken out only when it is given back")
    }
}

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
    /// Somebody has it.
    InUse,
    /// The request has been answered.
    Ended,
}

impl std::fmt::Display for NoTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected(error) => write!(f, "expected a connection to the database, found none: {error}"),
            Self::Failed(error) => write!(f, "{error}"),
            Self::InUse => f.write_str(
                "expected a transaction that nobody uses, found one that somebody has: drop what `transaction` gave before you ask \
                 again, and before the request is answered",
            ),
            Self::Ended => f.write_str("expected a request that goes on, found one that was answered: await what it changes"),
        }
    }
}

impl std::error::Error for NoTransaction {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotConnected(error) => Some(error),
            Self::Failed(error) => Some(error),
            Self::InUse | Self::Ended => None,
        }
    }
}

impl From<Error> for NoTransaction {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The connection of a request, in its transaction, until it is dropped. It is a `tokio_postgres::Client` with `prepare_cached`;
/// `BEGIN`, `COMMIT` and `ROLLBACK` are the layer's.
pub struct Transacting {
    changes: Changes,
    /// Where another connection comes from if this one does not get into a transaction.
    pool: Option<Pool>,
    open: Option<Open>,
}

impl Deref for Transacting {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.open.as_ref().expect("whoever has it has it in a transaction")
    }
}

impl Drop for Transacting {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        if matches!(*state, State::Lent) {
            *state = match (self.open.take(), self.pool.take()) {
                (Some(open), _) => State::Open(open),
                (None, Some(pool)) => State::Unused(pool),
                (None, None) => State::Ended,
            };
        }
    }
}

impl Transacting {
    /// Writes an event to the outbox. Call it after the change that it tells of, when the rows that are changed are locked.
    ///
    /// # Errors
    /// What the server says, or that it has gone. The transaction is of no use then.
    pub async fn publish(&self, event: &Event<'_>) -> Result<(), Error> {
        insert(self, event).await
    }
}

impl Changes {
    /// The transaction, which begins with the first call.
    ///
    /// # Errors
    /// [`NoTransaction`]; at once if somebody has it.
    pub async fn transaction(&self) -> Result<Transacting, NoTransaction> {
        let mut lent = self.lend()?;
        if let Some(pool) = &lent.pool {
            let connection = pool.get().await.map_err(NoTransaction::NotConnected)?;
            // Who goes away in the middle leaves a connection that nobody is to have again.
            let open = Open(Some(Box::new(connection)));
            open.batch_execute("BEGIN").await?;
            lent.open = Some(open);
        }
        Ok(lent)
    }

    fn lend(&self) -> Result<Transacting, NoTransaction> {
        let mut state = self.state();
        let (pool, open) = match std::mem::replace(&mut *state, State::Lent) {
            State::Unused(pool) => (Some(pool), None),
            State::Open(open) => (None, Some(open)),
            State::Lent => return Err(NoTransaction::InUse),
            State::Ended => {
                *state = State::Ended;
                return Err(NoTransaction::Ended);
            }
        };
        Ok(Transacting { changes: self.clone(), pool, open })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the transaction of a request, whatever becomes of that.
struct Ending(Changes);

impl Ending {
    async fn end(&self, commits: bool) -> Result<(), NoTransaction> {
        let open = match self.take() {
            State::Open(open) => open,
            State::Lent if commits => return Err(NoTransaction::InUse),
            // Whoever has it closes it.
            State::Lent | State::Unused(_) | State::Ended => return Ok(()),
        };
        match open.batch_execute(if commits { COMMIT } else { "ROLLBACK" }).await {
            Ok(()) => open.give_back(),
            Err(error) if commits => return Err(error.into()),
            // It is closed, which rolls back as well.
            Err(_) => {}
        }
        Ok(())
    }

    fn take(&self) -> State {
        std::mem::replace(&mut *self.0.state(), State::Ended)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.take());
    }
}
