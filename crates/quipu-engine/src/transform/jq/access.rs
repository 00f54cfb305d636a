//! How expressions reach into values: `.[]`, `.name`, `.[0]`, `.[1:3]`, and updates of what is there.

use std::ops::Range;
use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::val::ValX;
use jaq_core::{Exn, ValR, ValT};

use super::meter::{self, Stop};
use super::number::Number;
use super::object::Object;
use super::text;
use super::value::{Array, BYTES_MAX, Error, Outcome, Value, stopped};

impl ValT for Value {
    fn from_num(literal: &str) -> Outcome {
        Number::parse(literal).map(Self::Number).ok_or_else(|| Error::str("expected a number"))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(members: I) -> Outcome {
        let members = members.into_iter().map(|(name, value)| Ok((Rc::clone(name.as_text()?), value)));
        Ok(Self::object(members.collect::<Result<Object, Error>>()?))
    }

    fn key_values(self) -> Box<dyn Iterator<Item = ValR<(Self, Self), Self>>> {
        match self {
            Self::Array(array) => {
                each(Array::into_items(array), |items| items.enumerate().map(|(at, item)| (Self::from(at), item)))
            }
            Self::Object(object) => {
                let members = Object::owned(object).map(|object| object.into_members().collect());
                each(members, |members: std::vec::IntoIter<(Rc<str>, Self)>| {
                    members.map(|(name, value)| (Self::Text(name), value))
                })
            }
            other => Box::new(std::iter::once(Err(not_iterable(other)))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = Outcome>> {
        match self {
            Self::Array(array) => each(Array::into_items(array), |items| items),
            Self::Object(object) => {
                let is_counted = meter::copied_items(object.len());
                let values = || object.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
                each(if is_counted { Ok(values()) } else { Err(stopped()) }, |items| items)
            }
            other => Box::new(std::iter::once(Err(not_iterable(other)))),
        }
    }

    fn index(self, index: &Self) -> Outcome {
        match (&self, index) {
            (Self::Null, Self::Text(_) | Self::Number(_) | Self::Null) => Ok(Self::Null),
            (Self::Object(object), Self::Text(name)) => Ok(object.get(name).cloned().unwrap_or_default()),
            (Self::Array(array), Self::Number(at)) => {
                let item = position(at, array.items().len()).and_then(|at| array.items().get(at));
                Ok(item.cloned().unwrap_or_default())
            }
            (Self::Array(_), Self::Array(_)) => self.indices(index),
            (Self::Null | Self::Array(_) | Self::Text(_), Self::Object(bounds)) => {
                self.clone().range(bounds.get("start")..bounds.get("end"))
            }
            _ => Err(Error::index(self, index.clone())),
        }
    }

    fn range(self, range: Range<Option<&Self>>) -> Outcome {
        match &self {
            Self::Null => Ok(Self::Null),
            Self::Text(text) => {
                if !meter::copied(text.len()) {
                    return Err(stopped());
                }
                let chars = bounds(&range, text.chars().count())?;
                Ok(Self::text(&text[text::byte_range(text, chars)]))
            }
            Self::Array(array) => Ok(Self::array(array.items()[bounds(&range, array.items().len())?].to_vec())),
            _ => Err(Error::typ(self, "array or string")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        match self {
            Self::Array(array) => {
                let items = Array::into_items(array)?;
                Ok(Self::array(items.into_iter().flat_map(f).collect::<Result<_, _>>()?))
            }
            Self::Object(object) => {
                let mut mapped = Object::default();
                for (name, value) in Object::owned(object)?.into_members() {
                    if meter::is_stopped() {
                        return Err(stopped().into());
                    }
                    if let Some(value) = f(value).next().transpose()? {
                        mapped.insert(name, value);
                    }
                }
                Ok(Self::object(mapped))
            }
            other => opt.fail(other, |value| Exn::from(not_iterable(value))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match (self, index) {
            // As in jq, what is null becomes what the index asks for.
            (Self::Null, Self::Text(_)) => Self::object(Object::default()).map_index(index, opt, f),
            (Self::Null, Self::Number(_)) => Self::array(Vec::new()).map_index(index, opt, f),
            (Self::Object(object), Self::Text(name)) => {
                let mut object = Object::owned(object)?;
                match f(object.take(name).unwrap_or_default()).next().transpose()? {
                    Some(value) => object.insert(Rc::clone(name), value),
                    None => drop(object.remove(name)),
                }
                Ok(Self::object(object))
            }
            (Self::Array(array), Self::Number(at)) => map_item(array, at, opt, f),
            (value @ (Self::Array(_) | Self::Text(_)), Self::Object(bounds)) => {
                value.map_range(bounds.get("start")..bounds.get("end"), opt, f)
            }
            (value, index) => opt.fail(value, |value| Exn::from(Error::index(value, index.clone()))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<Option<&Self>>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        let Self::Array(array) = self else {
            return opt.fail(self, |value| Exn::from(Error::typ(value, "array")));
        };
        let mut items = Array::into_items(array)?;
        let bounds = bounds(&range, items.len())?;
        let part = Self::array(items[bounds.clone()].to_vec());
        let instead = match f(part).next().transpose()? {
            Some(Self::Array(array)) => Array::into_items(array)?,
            Some(other) => return Err(Error::typ(other, "array").into()),
            None => Vec::new(),
        };
        items.splice(bounds, instead);
        Ok(Self::array(items))
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        match self {
            Self::Text(_) => self,
            other => super::write::to_text(&other),
        }
    }
}

fn not_iterable(value: Value) -> Error {
    Error::typ(value, "array or object")
}

/// All of the items, or the one error.
fn each<T: 'static, U: 'static, I: Iterator<Item = U> + 'static>(
    items: Result<Vec<T>, Error>,
    f: impl FnOnce(std::vec::IntoIter<T>) -> I,
) -> Box<dyn Iterator<Item = Result<U, Error>>> {
    match items {
        Ok(items) => Box::new(f(items.into_iter()).map(Ok)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Where an index points to, from the end if it is negative. It may lie behind the end.
fn position(at: &Number, len: usize) -> Option<usize> {
    let at = at.as_index()?;
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

/// The part of `len` items that a range means, cut to what there is.
fn bounds(range: &Range<Option<&Value>>, len: usize) -> Result<Range<usize>, Error> {
    let bound = |bound: Option<&Value>, default: usize| match bound {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Number(at)) => Ok(position(at, len).unwrap_or(0).min(len)),
        Some(other) => Err(Error::typ(other.clone(), "number")),
    };
    let (start, end) = (bound(range.start, 0)?, bound(range.end, len)?);
    Ok(start..end.max(start))
}

/// Updates one item. As in jq, an item behind the end is made, and null stands for those before it.
fn map_item<'a, I: Iterator<Item = ValX<'a, Value>>>(
    array: Rc<Array>,
    at: &Number,
    opt: Opt,
    f: impl Fn(Value) -> I,
) -> ValX<'a, Value> {
    let Some(at) = position(at, array.items().len()) else {
        return opt.fail(Value::Array(array), |_| Exn::from(Error::str("the index is before the first item")));
    };
    if at > BYTES_MAX {
        meter::stop(Stop::Bytes);
        return Err(stopped().into());
    }
    let mut items = Array::into_items(array)?;
    if !meter::copied_items(at.saturating_sub(items.len())) {
        return Err(stopped().into());
    }
    let is_behind = at >= items.len();
    let before = items.get_mut(at).map(std::mem::take).unwrap_or_default();
    match f(before).next().transpose()? {
        Some(value) => {
            if is_behind {
                items.resize(at + 1, Value::Null);
            }
            items[at] = value;
        }
        None if !is_behind => drop(items.remove(at)),
        None => {}
    }
    Ok(Value::array(items))
}
