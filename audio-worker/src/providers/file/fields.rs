//! The fields of a map in the operator's file. All mistakes are collected, each with its place. No value of the file is in a message,
//! because a key may stand in the wrong place.

use std::ops::RangeInclusive;

use serde_yaml_ng::{Mapping, Value};

/// Longest text of a field, in characters.
const MAX_TEXT: usize = 2_048;

/// The fields of one map. Each is taken once; what is left at the end is a mistake.
pub(super) struct Fields<'m> {
    place: String,
    map: Mapping,
    taken: Vec<&'static str>,
    mistakes: &'m mut Vec<String>,
}

impl<'m> Fields<'m> {
    /// The fields of `value`; `None`, and a mistake, if it is no map.
    pub(super) fn of(place: String, value: Value, mistakes: &'m mut Vec<String>) -> Option<Self> {
        match value {
            Value::Mapping(map) => Some(Self { place, map, taken: Vec::new(), mistakes }),
            _ => {
                let place = if place.is_empty() { "the file" } else { &place };
                mistakes.push(format!("{place}: it must be a map of names and values"));
                None
            }
        }
    }

    /// Adds to the place in messages, such as the name of the provider.
    pub(super) fn called(&mut self, name: &str) {
        self.place = format!("{} ({name})", self.place);
    }

    /// Adds a mistake in a field.
    pub(super) fn mistake(&mut self, field: &str, text: impl AsRef<str>) {
        let place = if self.place.is_empty() { String::new() } else { format!("{}.", self.place) };
        self.mistakes.push(format!("{place}{field}: {}", text.as_ref()));
    }

    /// The value of a field; `None` if it is missing or empty.
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.taken.push(field);
        self.map.remove(field).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        let value = self.take(field)?;
        let text = value.as_str().map(str::trim);
        let text = text.filter(|text| !text.is_empty() && text.chars().count() <= MAX_TEXT && !has_control(text));
        if text.is_none() {
            self.mistake(
                field,
                format!("it must be a text of 1 to {MAX_TEXT} characters on one line; put it between quotes"),
            );
        }
        text.map(str::to_owned)
    }

    /// A text that must be there; `example` is one for the message.
    pub(super) fn required(&mut self, field: &'static str, example: &str) -> Option<String> {
        if self.map.get(field).is_none_or(Value::is_null) {
            self.taken.push(field);
            self.mistake(field, format!("it is missing; set it, for example to {example}"));
            return None;
        }
        self.text(field)
    }

    /// A text with a form of its own.
    pub(super) fn parsed<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.plain(field)?;
        parse(&text).map_err(|mistake| self.mistake(field, mistake)).ok()
    }

    /// A whole number.
    pub(super) fn whole(&mut self, field: &'static str, range: &RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(field)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.mistake(field, format!("it must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A map inside this one.
    pub(super) fn map(&mut self, field: &'static str) -> Option<Fields<'_>> {
        let value = self.take(field)?;
        let place = if self.place.is_empty() { field.to_owned() } else { format!("{}.{field}", self.place) };
        Fields::of(place, value, self.mistakes)
    }

    /// A list inside this map; empty if it is missing.
    pub(super) fn list(&mut self, field: &'static str, most: usize) -> Vec<Value> {
        match self.take(field) {
            None => Vec::new(),
            Some(Value::Sequence(list)) if list.len() <= most => list,
            Some(_) => {
                self.mistake(field, format!("it must be a list of at most {most}"));
                Vec::new()
            }
        }
    }

    /// The list of mistakes, for maps in a list of this one.
    pub(super) fn mistakes(&mut self) -> &mut Vec<String> {
        self.mistakes
    }

    /// Takes all that is left: it cannot be judged.
    pub(super) fn ignore_rest(&mut self) {
        self.map.clear();
    }

    /// A mistake for each field that nobody took. `advice` says more about some of them.
    pub(super) fn finish(mut self, advice: impl Fn(&str) -> Option<&'static str>) {
        let left: Vec<String> = self.map.keys().map(|key| name_of(key.as_str().unwrap_or("?"))).collect();
        let known = self.taken.join(", ");
        for name in left {
            let advice = advice(&name).map_or_else(|| format!("the fields are {known}"), str::to_owned);
            self.mistake(&name, format!("there is no such field here; {advice}"));
        }
    }

    /// A text, or a number that was written without quotes.
    fn plain(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => {
                self.mistake(field, "it must be a single value");
                None
            }
        }
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// The name of a field without what stands behind it: where the blank after a colon is missing, the value is a part of the name.
fn name_of(key: &str) -> String {
    let name = key.split([':', '=', ' ']).next().unwrap_or_default();
    let name: String = name.chars().filter(|character| !character.is_control()).take(40).collect();
    if name.is_empty() { "?".to_owned() } else { name }
}
