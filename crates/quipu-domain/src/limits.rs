//! Every limit on what a stranger can send, with its reason. All sizes are bytes of UTF-8.

/// Longest `id`. UUIDs take 36 bytes, delivery ids of brokers up to 200.
pub const ID_BYTES_MAX: usize = 512;
/// Longest `source`, a URI reference; proxies cut URLs at 2,000.
pub const SOURCE_BYTES_MAX: usize = 2_048;
/// Longest `type`.
pub const TYPE_BYTES_MAX: usize = 256;
/// Longest `subject`, the name of a stream.
pub const SUBJECT_BYTES_MAX: usize = 1_024;
/// Longest name of an extension attribute. CloudEvents recommends 20.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Longest value of one attribute. `tags` fits: 64 tags of 127 bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 8_192;
/// Most extension attributes on one event.
pub const ATTRIBUTES_MAX: usize = 64;
/// Most tags on one event. Each is an index entry.
pub const TAGS_MAX: usize = 64;
/// Longest tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Most dot-separated levels of a `type` that are indexed as prefixes. Deeper types are still found, by filtering.
pub const TYPE_LEVELS_MAX: usize = 8;
/// Largest event (its stored form) unless configured otherwise.
pub const EVENT_BYTES_DEFAULT: usize = 1 << 20;
/// Largest stored form of an event whose data stays in the log unless configured otherwise: whoever reads what was never
/// larger need not know of payloads.
pub const CLAIM_CHECK_BYTES_DEFAULT: usize = EVENT_BYTES_DEFAULT;
/// Largest payload unless configured otherwise. It is held in memory while it is taken and while it is read.
pub const PAYLOAD_BYTES_DEFAULT: usize = 16 << 20;
/// Data of fewer bytes is never kept beside the log: the reference would take about as much.
pub const PAYLOAD_BYTES_MIN: usize = 128;
/// Deepest nesting of JSON data. Parsers give up at 128 levels, and an event on a page has some around it.
pub const JSON_DEPTH_MAX: usize = 100;
/// Most events in one append: one commit is one frame and is decided in one step.
pub const APPEND_EVENTS_MAX: usize = 10_000;
/// Most events in one JSON array that is published, as in an append. Each that is refused is answered with some 1 KB,
/// from as little as 2 bytes; bulk loads, which are answered while they are read, have no limit.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Most bytes of events in one append, as stored: a commit is one frame, which is read and checked as a whole.
pub const APPEND_BYTES_MAX: usize = 64 << 20;
/// Most conditions on one append.
pub const CONDITIONS_MAX: usize = 64;
/// Most timers of a tenant that wait: each takes some 200 bytes of memory, 400 MB in all.
pub const TIMERS_MAX: usize = 2_000_000;
/// Longest key of a timer, bytes: as a subject.
pub const TIMER_KEY_BYTES_MAX: usize = 512;
/// How far ahead a timer may be, milliseconds: ten years.
pub const TIMER_AHEAD_MS_MAX: i64 = 10 * 366 * 24 * 60 * 60 * 1_000;
/// Most timers that one append sets, and most that it cancels.
pub const APPEND_TIMERS_MAX: usize = 1_000;
/// Most outside sources with a checkpoint, of names up to 1 KiB: they are held in memory and stand in each snapshot.
/// Ten times the partitions of a large topic.
pub const CHECKPOINT_SOURCES_MAX: usize = 10_000;
/// Most items in one query, and most types or tags in one item.
pub const QUERY_ITEMS_MAX: usize = 64;
/// Most events on one page.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Events on a page unless asked otherwise.
pub const PAGE_EVENTS_DEFAULT: usize = 100;
/// Most events in one trace; a larger tree is cut and says so.
pub const TRACE_EVENTS_MAX: usize = 1_000;
/// Longest text of a pattern. AWS allows 4 KiB; lists of a few thousand ids fit into sixteen times that.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Most values in all lists of a pattern, those inside of `anything-but` counted: 64 KiB of the shortest strings
/// (`"ab",`, 5 bytes) would be 13,000 values, of which three in ten are more than anybody writes by hand.
pub const PATTERN_VALUES_MAX: usize = 4_096;
/// Most fields that one branch of a pattern names. Checking a branch goes one level deeper for each.
pub const PATTERN_FIELDS_MAX: usize = 256;
/// Most branches that the `$or`s of a pattern multiply out to: ten with two alternatives each are 2^10. AWS allows
/// 1,000.
pub const PATTERN_BRANCHES_MAX: usize = 1_024;
/// Most alternatives of a pattern that each text must be searched for, since no order of an event's texts answers them:
/// wildcards with text on both sides of a star or between two, all excluded wildcards, and texts beyond ASCII whose
/// case is ignored, with those that are excluded beside them. Each may cost 2 to 4 ms on an event of 1 MiB that was made
/// for it.
pub const PATTERN_SEARCHES_MAX: usize = 32;
/// Most values once `$or`s are multiplied out, which is what a pattern costs in a set: 16 times the values of one
/// branch, or 64 values in each of the most branches.
pub const PATTERN_EXPANDED_MAX: usize = 65_536;
