//! The query of a request, read strictly: what is unknown, given twice or of a wrong value is refused and not overlooked.
//!
//! In: the URI. Out: one value for each parameter that is asked for, or a sentence that names the parameter and says what
//! would be right; every service answers it with 422.

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;

/// What is wrong with a query, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Parameters of one kind of request.
pub trait Parameters: Sized {
    /// Takes them out of the query.
    ///
    /// # Errors
    /// When a value makes no sense.
    fn take(query: &mut Query) -> Result<Self, Invalid>;
}

/// No parameters at all.
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

/// A query while it is read.
pub struct Query {
    given: Vec<(String, String)>,
    asked_for: Vec<&'static str>,
}

impl Query {
    /// Reads all of a URI's query as one kind of parameters.
    ///
    /// # Errors
    /// When a parameter is unknown, given twice, or its value makes no sense.
    pub fn read<P: Parameters>(uri: &Uri) -> Result<P, Invalid> {
        let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let given: Vec<(String, String)> = given.into_owned().collect();
        let mut query = Self { given, asked_for: Vec::new() };
        let read = P::take(&mut query)?;
        query.must_be_known()?;
        Ok(read)
    }

    /// The value of a parameter as it came.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Invalid> {
        self.asked_for.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Invalid(format!("{name} is given twice; give it once"))),
            (value, None) => Ok(value.cloned()),
        }
    }

    /// The value of a parameter as a `T`.
    ///
    /// # Errors
    /// When it is given twice or is none; what a `T` is, its own error says.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Invalid> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(|error| Invalid(format!("{name}: {error}")))).transpose()
    }

    fn must_be_known(&self) -> Result<(), Invalid> {
        let Some((unknown, _)) = self.given.iter().find(|(name, _)| !self.asked_for.contains(&name.as_str())) else {
            return Ok(());
        };
        if self.asked_for.is_empty() {
            return Err(Invalid(format!("this path takes no parameters, so not {unknown:?} either")));
        }
        Err(Invalid(format!("there is no parameter {unknown:?}; there are {}", self.asked_for.join(", "))))
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
    fn what_is_there_is_read_and_nothing_else_may_be() {
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
