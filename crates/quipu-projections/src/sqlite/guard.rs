//! What the SQL of a projection may do: change the tables of its own read model, by what stands in the event and in those tables.
//! Everything else is refused while it is prepared: other files, settings, the place in the log, and whatever would come out
//! otherwise when it is done again, such as the time of day and random numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result, params_from_iter};

use crate::table::OWN_TABLE;

/// Steps of SQLite's machine between two looks at whether it is enough.
const STEPS_A_TICK: u64 = 100;
/// Most steps that one event may take: about half a second. Counted in steps, since a time would come out otherwise the next time.
const STEPS_MAX: u64 = 20_000_000;
/// Longest that one event may take where its steps are long ones: nothing ordinary comes near it.
const EVENT_TIME_MAX: Duration = Duration::from_secs(10);
/// Most bytes of one text times those of another that one function may hold against each other: it is one step.
const COMPARED_MAX: usize = 1 << 28;
/// Most columns of a table and of an answer.
const COLUMNS_MAX: i32 = 500;
/// Largest text or blob, bytes: an event's data has at most as many.
const VALUE_BYTES_MAX: i32 = 32 << 20;
/// Longest pattern of `LIKE` and `GLOB`, bytes: one comparison takes steps for each character of both, and nothing ends it in between.
const LIKE_BYTES_MAX: i32 = 256;
/// Bytes that all read models together have of their files in memory, about.
const HEAP_BYTES: i64 = 256 << 20;
/// What they would be asked for differs each time.
const NOT_DETERMINISTIC: [&str; 10] = [
    "changes",
    "current_date",
    "current_time",
    "current_timestamp",
    "last_insert_rowid",
    "random",
    "randomblob",
    "sqlite_source_id",
    "sqlite_version",
    "total_changes",
];
/// What reaches out of the database.
const REACHING_OUT: [&str; 4] = ["edit", "fts3_tokenizer", "load_extension", "sqlite_compileoption_get"];
/// Functions of dates, and how many arguments come before the time they are asked about.
const DATES: [(&str, usize); 7] =
    [("date", 0), ("datetime", 0), ("julianday", 0), ("strftime", 1), ("time", 0), ("timediff", 0), ("unixepoch", 0)];
/// What is said of a function whose value would be another the next time.
const CURRENT_TIME: &str =
    "the current time differs whenever the read model is built again; use :time or :recordedtime";
const TOO_MUCH_COMPARED: &str = "a function of texts would hold too much against too much; give it shorter ones";
/// Functions that hold their first argument against their second, and how many they have.
const COMPARING: [(&str, i32); 5] = [("instr", 2), ("replace", 3), ("trim", 2), ("ltrim", 2), ("rtrim", 2)];
const TIME_ZONE: &str = "the time zone of the machine differs from one to the other; use offsets such as '+2 hours'";

/// Whose SQL is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    /// Ours.
    Own = 0,
    /// The script that makes the tables.
    Tables = 1,
    /// What events do to them.
    Statements = 2,
    /// Somebody's question.
    Query = 3,
}

/// The guard of one connection.
#[derive(Clone)]
pub(super) struct Guard {
    mode: Arc<AtomicU8>,
    ticks: Arc<AtomicU64>,
    /// Something was prepared that changes a table.
    changes: Arc<AtomicBool>,
}

impl Guard {
    /// Puts a guard before a connection.
    pub fn put(conn: &mut Connection) -> Result<Self> {
        let guard = Self { mode: Arc::default(), ticks: Arc::default(), changes: Arc::default() };
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_BYTES_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_COLUMN, COLUMNS_MAX)?;
        // Of the whole process: caches shrink at the one, and whoever wants more than the other is refused.
        conn.pragma_update(None, "soft_heap_limit", HEAP_BYTES)?;
        conn.pragma_update(None, "hard_heap_limit", 4 * HEAP_BYTES)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // A word in double quotes is a name, never a text: who mistypes a column is told.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        let (mode, changes) = (Arc::clone(&guard.mode), Arc::clone(&guard.changes));
        conn.authorizer(Some(move |context: AuthContext<'_>| {
            use AuthAction as A;
            if matches!(context.action, A::Insert { .. } | A::Update { .. } | A::Delete { .. }) {
                changes.store(true, Ordering::Relaxed);
            }
            match allows(mode.load(Ordering::Relaxed), &context) {
                true => Authorization::Allow,
                false => Authorization::Deny,
            }
        }))?;
        let ticks = Arc::clone(&guard.ticks);
        let mut began = Instant::now();
        let is_enough = move || {
            let tick = ticks.fetch_add(1, Ordering::Relaxed);
            if tick == 0 {
                began = Instant::now();
            }
            let is_late = began.elapsed() >= EVENT_TIME_MAX;
            if is_late {
                ticks.store(STEPS_MAX, Ordering::Relaxed);
            }
            is_late || tick >= STEPS_MAX / STEPS_A_TICK
        };
        conn.progress_handler(STEPS_A_TICK as i32, Some(is_enough))?;
        let original = Original::default();
        for (name, before) in DATES {
            replace_date(conn, name, before, original.clone())?;
        }
        for (name, arguments) in COMPARING {
            bound_comparing(conn, name, arguments, original.clone())?;
        }
        Ok(guard)
    }

    /// From now on what is prepared is somebody's.
    pub fn enter(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
        self.changes.store(false, Ordering::Relaxed);
        self.count_anew();
    }

    /// Whether what was prepared since then changes a table.
    pub fn has_changes(&self) -> bool {
        self.changes.load(Ordering::Relaxed)
    }

    /// Something else begins.
    pub fn count_anew(&self) {
        self.ticks.store(0, Ordering::Relaxed);
    }

    /// Whether what ran was ended since it took too long.
    pub fn was_enough(&self) -> bool {
        self.ticks.load(Ordering::Relaxed) > STEPS_MAX / STEPS_A_TICK
    }
}

/// Ends what a connection does when a time is over.
pub(super) fn end_after(conn: &mut Connection, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    conn.progress_handler(STEPS_A_TICK as i32, Some(move || Instant::now() >= until))
}

fn is_own(table: &str) -> bool {
    table.get(..OWN_TABLE.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_TABLE))
}

fn is_of_sqlite(table: &str) -> bool {
    table.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

fn allows(mode: u8, context: &AuthContext<'_>) -> bool {
    use AuthAction as A;
    const TABLES: u8 = Mode::Tables as u8;
    const STATEMENTS: u8 = Mode::Statements as u8;
    const QUERY: u8 = Mode::Query as u8;
    if mode == Mode::Own as u8 {
        return true;
    }
    if context.database_name.is_some_and(|name| name != "main") {
        return false;
    }
    match context.action {
        A::Select | A::Recursive => true,
        A::Function { function_name } => allows_function(mode, function_name),
        A::Read { table_name, .. } if is_own(table_name) => false,
        A::Read { table_name, .. } => mode == TABLES || !is_of_sqlite(table_name),
        A::Insert { table_name } | A::Delete { table_name } | A::Update { table_name, .. } => match mode {
            // Making a table is an insert into SQLite's own, which nobody else can do.
            TABLES => !is_own(table_name),
            STATEMENTS => !is_own(table_name) && !is_of_sqlite(table_name),
            _ => false,
        },
        A::CreateTable { table_name } => mode == TABLES && !is_own(table_name),
        A::CreateView { view_name } => mode == TABLES && !is_own(view_name),
        A::CreateIndex { .. } | A::Reindex { .. } => mode == TABLES,
        _ => mode != TABLES && mode != STATEMENTS && mode != QUERY,
    }
}

fn allows_function(mode: u8, name: &str) -> bool {
    !is_of(&REACHING_OUT, name) && (mode == Mode::Query as u8 || !is_of(&NOT_DETERMINISTIC, name))
}

fn is_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The function of a statement that is refused because it comes out otherwise each time, by what SQLite says.
pub(super) fn not_deterministic(error: &Error) -> Option<String> {
    let text = error.to_string();
    let named = text.split_once("use function: ").map(|(_, rest)| rest);
    let named = named.and_then(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
    if let Some(name) = named.filter(|name| is_of(&NOT_DETERMINISTIC, name)) {
        let name = name.to_ascii_lowercase();
        return Some(match name.starts_with("current") {
            true => format!("it uses {name}: {CURRENT_TIME}"),
            false => format!("it uses {name}(), whose value differs whenever the read model is built again"),
        });
    }
    [CURRENT_TIME, TIME_ZONE].into_iter().find(|said| text.contains(said)).map(str::to_owned)
}

/// What is said of a statement that SQLite refuses.
pub(super) fn said(error: &Error) -> String {
    not_deterministic(error).unwrap_or_else(|| error.to_string())
}

/// SQLite's own functions, in a database of their own: those in the place of which others are put. Opened when one is first asked.
#[derive(Clone, Default)]
struct Original(Arc<Mutex<Option<Connection>>>);

impl Original {
    fn ask(&self, name: &str, arguments: Vec<Value>) -> Result<Value> {
        let mut open = self.0.lock();
        let conn = match &mut *open {
            Some(conn) => conn,
            none => none.insert(Connection::open_in_memory()?),
        };
        let marks = vec!["?"; arguments.len()].join(",");
        let mut statement = conn.prepare_cached(&format!("select {name}({marks})"))?;
        statement.query_row(params_from_iter(arguments), |row| row.get(0))
    }
}

fn arguments_of(context: &Context<'_>) -> Vec<Value> {
    (0..context.len()).map(|number| Value::try_from(context.get_raw(number)).unwrap_or(Value::Null)).collect()
}

/// Puts in the place of a function of dates one that is the same but for the time of day and the time zone of the machine.
fn replace_date(conn: &Connection, name: &'static str, before: usize, original: Original) -> Result<()> {
    conn.create_scalar_function(name, -1, replaced(), move |context: &Context<'_>| {
        let arguments = arguments_of(context);
        let is_text = |value: &Value, texts: &[&str]| {
            // As SQLite reads them: bytes are text, which ends at the first NUL.
            let bytes = match value {
                Value::Text(text) => text.as_bytes(),
                Value::Blob(bytes) => bytes,
                _ => return false,
            };
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            texts.iter().any(|other| bytes[..end].trim_ascii().eq_ignore_ascii_case(other.as_bytes()))
        };
        let is_now = arguments.iter().any(|argument| is_text(argument, &["now"]));
        let asked =
            if name == "timediff" { &arguments[..] } else { arguments.get(before..=before).unwrap_or_default() };
        if is_now || asked.is_empty() || asked.iter().any(|asked| is_text(asked, &["subsec", "subsecond"])) {
            return Err(Error::UserFunctionError(CURRENT_TIME.into()));
        }
        if arguments.iter().any(|argument| is_text(argument, &["localtime", "utc"])) {
            return Err(Error::UserFunctionError(TIME_ZONE.into()));
        }
        original.ask(name, arguments)
    })
}

/// Puts in the place of a function of texts one that is the same, and refuses what would take minutes.
fn bound_comparing(conn: &Connection, name: &'static str, arguments: i32, original: Original) -> Result<()> {
    conn.create_scalar_function(name, arguments, replaced(), move |context: &Context<'_>| {
        let length = |number: usize| match context.get_raw(number) {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        if length(0).saturating_mul(length(1)) > COMPARED_MAX {
            return Err(Error::UserFunctionError(TOO_MUCH_COMPARED.into()));
        }
        original.ask(name, arguments_of(context))
    })
}

/// What a function is that is put in the place of SQLite's own.
fn replaced() -> FunctionFlags {
    FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS
}
