//! The functions in Rust: those of jaq that hold for any kind of value, and ours for what jaq ties to its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jaq_core::box_iter::box_once;
use jaq_core::data::JustLut;
use jaq_core::native::{self, bome, unary, v};
use jaq_core::{Bind, Error, Exn, Native, RunPtr};
use quipu_domain::Timestamp;

use super::value::{Outcome, Value, stopped};
use super::{meter, read, regex, rewrite, write};

type D = JustLut<Value>;
type Named = native::Fun<D>;
type Unnamed = (&'static str, Box<[Bind]>, RunPtr<D>);

/// What is taken of jaq's own, so that a newer jaq brings none unnoticed. `halt` is not: it ends more than the evaluation.
const OF_JAQ: &str = "
    error_empty path path_value range keys_unsorted key_values first last limit skip
    floor round ceil utf8bytelength explode implode ascii_downcase ascii_upcase reverse sort sort_by group_by
    min_by_or_empty max_by_or_empty startswith endswith trim ltrim rtrim escape_sh
";

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Named> {
    let of_jaq = jaq_core::funs::<D>().chain(jaq_std::base_funs::<D>());
    let of_jaq = of_jaq.filter(|(name, ..)| OF_JAQ.split_whitespace().any(|taken| taken == *name));
    let ours = [values(), encodings(), regexes(), numbers()].into_iter().flatten();
    let ours = ours.map(|(name, arguments, run)| (name, arguments, Native::<D>::new(run)));
    of_jaq.chain(ours).chain([(rewrite::STEP, v(0), step())])
}

/// Counts, and hands on what it got: as a value, as a path, and to be updated.
fn step() -> Native<D> {
    // Halting is the one thing that no expression can catch. The code is for nobody.
    Native::new(|cv| box_once(if meter::step() { Ok(cv.1) } else { Err(Exn::halt(1)) }))
        .with_paths(|cv| {
            if cv.1.1.iter().nth(meter::PATH_STEPS_MAX).is_some() {
                meter::stop(meter::Stop::Path);
            }
            box_once(if meter::step() { Ok(cv.1) } else { Err(Exn::halt(1)) })
        })
        .with_update(|cv, update| if meter::step() { update(cv.1) } else { box_once(Err(Exn::halt(1))) })
}

fn values() -> Vec<Unnamed> {
    vec![
        ("length", v(0), |cv| bome(cv.1.length())),
        ("contains", v(1), |cv| unary(cv, |value, part| Ok(value.contains(&part).into()))),
        ("has", v(1), |cv| unary(cv, |value, key| value.has(&key))),
        ("join", v(1), |cv| unary(cv, |value, separator| value.join(&separator))),
        ("indices", v(1), |cv| unary(cv, |value, part| value.indices(&part))),
        ("tojson", v(0), |cv| bome(Ok(write::to_text(&cv.1)))),
        ("fromjson", v(0), |cv| bome(cv.1.as_text().and_then(|text| read::read(text).map_err(Error::str)))),
        ("ltrimstr", v(1), |cv| unary(cv, |value, fix| Ok(value.without_prefix(&fix)))),
        ("rtrimstr", v(1), |cv| unary(cv, |value, fix| Ok(value.without_suffix(&fix)))),
    ]
}

fn encodings() -> Vec<Unnamed> {
    vec![
        ("escape_html", v(0), |cv| bome(map_text(&cv.1, escape_html))),
        ("encode_uri", v(0), |cv| bome(map_text(&cv.1, |text| Ok(encode_uri(text))))),
        ("decode_uri", v(0), |cv| {
            bome(map_text(&cv.1, |text| {
                Ok(percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned())
            }))
        }),
        ("encode_base64", v(0), |cv| bome(map_text(&cv.1, |text| Ok(BASE64.encode(text))))),
        ("decode_base64", v(0), |cv| bome(map_text(&cv.1, decode_base64))),
        ("todateiso8601", v(0), |cv| bome(to_date(&cv.1))),
        ("fromdateiso8601", v(0), |cv| bome(from_date(&cv.1))),
    ]
}

fn regexes() -> Vec<Unnamed> {
    vec![
        ("matches", v(2), |cv| bome(regex::call(cv, regex::Parts::Matches))),
        ("split_matches", v(2), |cv| bome(regex::call(cv, regex::Parts::Both))),
        ("split_", v(2), |cv| bome(regex::call(cv, regex::Parts::Between))),
    ]
}

fn numbers() -> Vec<Unnamed> {
    vec![
        ("nan", v(0), |_| bome(Ok(f64::NAN.into()))),
        ("infinite", v(0), |_| bome(Ok(f64::INFINITY.into()))),
        ("isnan", v(0), |cv| bome(float(&cv.1).map(|x| x.is_nan().into()))),
        ("sqrt", v(0), |cv| bome(float(&cv.1).map(|x| x.sqrt().into()))),
        ("fabs", v(0), |cv| bome(float(&cv.1).map(|x| x.abs().into()))),
        ("trunc", v(0), |cv| bome(float(&cv.1).map(|x| x.trunc().into()))),
        ("exp", v(0), |cv| bome(float(&cv.1).map(|x| x.exp().into()))),
        ("exp2", v(0), |cv| bome(float(&cv.1).map(|x| x.exp2().into()))),
        ("log", v(0), |cv| bome(float(&cv.1).map(|x| x.ln().into()))),
        ("log2", v(0), |cv| bome(float(&cv.1).map(|x| x.log2().into()))),
        ("log10", v(0), |cv| bome(float(&cv.1).map(|x| x.log10().into()))),
        ("pow", v(2), |mut cv| {
            let (power, base) = (cv.0.pop_var(), cv.0.pop_var());
            bome(float(&base).and_then(|base| Ok(base.powf(float(&power)?).into())))
        }),
    ]
}

fn float(value: &Value) -> Result<f64, Error<Value>> {
    match value {
        Value::Number(number) => Ok(number.as_f64()),
        other => Err(Error::typ(other.clone(), "number")),
    }
}

fn map_text(value: &Value, map: impl FnOnce(&str) -> Result<String, String>) -> Outcome {
    let text = value.as_text()?;
    if !meter::copied(text.len()) {
        return Err(stopped());
    }
    map(text).map(Value::text).map_err(Error::str)
}

fn decode_base64(text: &str) -> Result<String, String> {
    let bytes = BASE64.decode(text).map_err(|error| format!("cannot be decoded as base64: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All but letters, digits and `-_.~` is escaped.
fn encode_uri(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string()
}

fn escape_html(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// Seconds since 1970, to the microsecond.
fn from_date(value: &Value) -> Outcome {
    let text = value.as_text()?;
    let time = Timestamp::parse(text).ok_or_else(|| Error::str(format!("expected a time, found {value}")))?;
    match time.0 % 1_000_000 {
        0 => Ok(Value::from((time.0 / 1_000_000) as isize)),
        _ => Ok((time.0 as f64 / 1e6).into()),
    }
}

fn to_date(value: &Value) -> Outcome {
    let seconds = float(value)?;
    // The years 1 to 9999: beyond them RFC 3339 has no form.
    if !(-62_135_596_800.0..253_402_300_800.0).contains(&seconds) {
        return Err(Error::str(format!("expected seconds of the years 1 to 9999, found {value}")));
    }
    let text = Timestamp((seconds * 1e6).round() as i64).to_string();
    // As in jq, whole seconds have no fraction.
    Ok(Value::text(text.strip_suffix(".000Z").map(|whole| format!("{whole}Z")).unwrap_or(text)))
}
