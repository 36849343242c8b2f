//! Strict parsing of query strings: unknown, repeated and invalid parameters are refused, which services answer with 422.

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;

/// An invalid query: names the parameter and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A set of parameters.
pub trait Parameters: Sized {
    /// Reads them from the query.
    ///
    /// # Errors
    /// When a value is invalid.
    fn take(query: &mut Query) -> Result<Self, Invalid>;
}

/// No parameters.
impl Parameters for () {
    fn take(_: &mut Query) -> Result<Self, Invalid> {
        Ok(())
    }
}

impl<A: Parameters, B: Parameters> Parameters for (A, B) {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        Ok((A::take(query)?, B::take(query)?))
    }
}

/// A query that is being read. It records the requested names, so that all others are unknown.
pub struct Query {
    given: Vec<(String, String)>,
    requested: Vec<&'static str>,
}

impl Query {
    /// Reads the query of a URI as `P`.
    ///
    /// # Errors
    /// When a parameter is unknown, repeated or invalid.
    pub fn read<P: Parameters>(uri: &Uri) -> Result<P, Invalid> {
        let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let given: Vec<(String, String)> = given.into_owned().collect();
        let mut query = Self { given, requested: Vec::new() };
        let read = P::take(&mut query)?;
        query.refuse_unknown()?;
        Ok(read)
    }

    /// The decoded value of a parameter.
    ///
    /// # Errors
    /// When it is repeated.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Invalid> {
        self.requested.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Invalid(format!("{name} is given twice; give it once"))),
            (value, None) => Ok(value.cloned()),
        }
    }

    /// The value of a parameter, parsed as `T`.
    ///
    /// # Errors
    /// When it is repeated or invalid. The message has the parser's error.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Invalid> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|error| Invalid(format!("{name}: {error}")))).transpose()
    }

    fn refuse_unknown(&self) -> Result<(), Invalid> {
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !self.requested.contains(&name.as_str())) else {
            return Ok(());
        };
        if self.requested.is_empty() {
            return Err(Invalid(format!("this path takes no parameters, so not {unknown:?} either")));
        }
        Err(Invalid(format!("there is no parameter {unknown:?}; there are {}", self.requested.join(", "))))
    }
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
        fn take(query: &mut Query) -> Result<Self, Invalid> {
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
            ("limt=5", "there is no parameter \"limt\"; there are limit, name"),
            ("limit=x&name=y", "limit: "),
            ("limit=1&limit=2", "limit is given twice"),
            ("limit=-1", "limit: "),
            ("&=&", "there is no parameter \"\""),
        ] {
            let refused = read(query).unwrap_err();
            assert!(refused.contains(part), "{query}: {refused}");
        }
        let none = Query::read::<()>(&"/a?x=1".parse().unwrap()).unwrap_err().to_string();
        assert!(none.contains("takes no parameters"), "{none}");
    }
}
