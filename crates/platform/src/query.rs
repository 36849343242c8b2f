//! Strict parsing of query strings: unknown, repeated and invalid parameters are refused; services respond with 422.
//!
//! A parameter has a fixed name ([`Query::text`]), or a name of the client's choice behind a fixed prefix
//! ([`Query::prefixed`]).

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;

/// Maximum number of characters of a parameter's name in a message.
const SHOWN_CHARS: usize = 80;

/// An invalid query. The message names the parameter and says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A set of parameters.
pub trait Parameters: Sized {
    /// Parses them from the query.
    ///
    /// # Errors
    /// When a value is invalid.
    fn parse(query: &mut Query) -> Result<Self, Invalid>;
}

/// No parameters.
impl Parameters for () {
    fn parse(_: &mut Query) -> Result<Self, Invalid> {
        Ok(())
    }
}

impl<A: Parameters, B: Parameters> Parameters for (A, B) {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok((A::parse(query)?, B::parse(query)?))
    }
}

/// A query that is being parsed. It records the requested names and prefixes; all others are unknown.
pub struct Query {
    given: Vec<(String, String)>,
    names: Vec<&'static str>,
    prefixes: Vec<&'static str>,
}

impl Query {
    /// Parses the query of a URI as `P`.
    ///
    /// # Errors
    /// When a parameter is unknown, repeated or invalid.
    pub fn read<P: Parameters>(uri: &Uri) -> Result<P, Invalid> {
        let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let given: Vec<(String, String)> = given.into_owned().collect();
        let mut query = Self { given, names: Vec::new(), prefixes: Vec::new() };
        let read = P::parse(&mut query)?;
        query.refuse_unknown()?;
        Ok(read)
    }

    /// The decoded value of a parameter.
    ///
    /// # Errors
    /// When it is repeated.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Invalid> {
        self.names.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Invalid(format!("{name} is given twice; send it once"))),
            (value, None) => Ok(value.cloned()),
        }
    }

    /// The value of a parameter, parsed as `T`.
    ///
    /// # Errors
    /// When it is repeated or invalid. The message contains the parser's error.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Invalid> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|error| Invalid(format!("{name}: {error}")))).transpose()
    }

    /// The parameters whose names begin with `prefix`, in their order: the rest of each name, and the decoded value.
    ///
    /// # Errors
    /// When there are more than `most`, or a name is repeated.
    pub fn prefixed(&mut self, prefix: &'static str, most: usize) -> Result<Vec<(String, String)>, Invalid> {
        self.prefixes.push(prefix);
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.given {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            if found.len() == most {
                return Err(Invalid(format!("at most {most} parameters {prefix}NAME are allowed")));
            }
            if found.iter().any(|(known, _)| known == name) {
                return Err(Invalid(format!("{prefix}{} is given twice; send it once", shown(name))));
            }
            found.push((name.to_owned(), value.clone()));
        }
        Ok(found)
    }

    fn refuse_unknown(&self) -> Result<(), Invalid> {
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !self.is_known(name)) else { return Ok(()) };
        let unknown = shown(unknown);
        let names = self.names.iter().copied().map(str::to_owned);
        let known: Vec<String> = names.chain(self.prefixes.iter().map(|prefix| format!("{prefix}NAME"))).collect();
        if known.is_empty() {
            return Err(Invalid(format!("this path has no parameters, so {unknown:?} is not allowed")));
        }
        Err(Invalid(format!("there is no parameter {unknown:?}; the parameters are {}", known.join(", "))))
    }

    fn is_known(&self, name: &str) -> bool {
        self.names.contains(&name) || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The beginning of a client's text, for a message.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Page {
        limit: Option<u32>,
        name: Option<String>,
    }

    impl Parameters for Page {
        fn parse(query: &mut Query) -> Result<Self, Invalid> {
            Ok(Self { limit: query.parsed("limit")?, name: query.text("name")? })
        }
    }

    fn read(query: &str) -> Result<Page, String> {
        let uri = format!("/a?{query}").parse().unwrap();
        Query::read::<(Page, ())>(&uri).map(|(page, ())| page).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_repeated_and_invalid_parameters_are_refused() {
        assert_eq!(read("name=a%20b&limit=5"), Ok(Page { limit: Some(5), name: Some("a b".to_owned()) }));
        assert_eq!(read(""), Ok(Page { limit: None, name: None }));
        for (query, part) in [
            ("limt=5", "there is no parameter \"limt\"; the parameters are limit, name"),
            ("limit=x&name=y", "limit: "),
            ("limit=1&limit=2", "limit is given twice"),
            ("limit=-1", "limit: "),
            ("&=&", "there is no parameter \"\""),
        ] {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(part), "{query}: {refused}");
        }
        let none = Query::read::<()>(&"/a?x=1".parse().unwrap()).unwrap_err().to_string();
        assert!(none.contains("has no parameters"), "{none}");
        let long = read(&format!("{}=1", "n".repeat(9_000))).unwrap_err();
        assert!(long.len() < 200, "{long}");
    }

    #[derive(Debug)]
    struct Prefixed(Vec<(String, String)>);

    impl Parameters for Prefixed {
        fn parse(query: &mut Query) -> Result<Self, Invalid> {
            Ok(Self(query.prefixed("a.", 3)?))
        }
    }

    #[test]
    fn prefixed_parameters_keep_their_names_order_and_bound() {
        let read = |query: &str| {
            let read = Query::read::<(Page, Prefixed)>(&format!("/a?{query}").parse().unwrap());
            read.map(|(_, Prefixed(found))| found).map_err(|error| error.to_string())
        };
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(read("a.y=1&limit=5&a.x=b%20c&a.=z"), pairs(&[("y", "1"), ("x", "b c"), ("", "z")]));
        assert_eq!(read("limit=5"), pairs(&[]));
        for (query, part) in [
            ("a.x=1&a.y=2&a.x=3", "a.x is given twice"),
            ("a.1=&a.2=&a.3=&a.4=", "at most 3 parameters a.NAME"),
            ("a=1", "there is no parameter \"a\"; the parameters are limit, name, a.NAME"),
            ("b.x=1", "there is no parameter \"b.x\""),
        ] {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(part), "{query}: {refused}");
        }
    }
}
