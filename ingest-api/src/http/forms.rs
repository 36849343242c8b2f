//! A form of texts (`application/x-www-form-urlencoded`), as OAuth 2.0 and older clients send it.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;

use crate::app::App;
use crate::http::ApiError;
use crate::upload::Upload;

/// What a form's Content-Type says.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form, in their order.
pub struct Form(Vec<(String, String)>);

impl FromRequest<App> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !is(&request, FORM) {
            return Err(ApiError::UnsupportedMediaType(format!("the body must be a form, with Content-Type: {FORM}")));
        }
        let bytes = Upload::begin(request.into_body(), app.fields_bounds(), &app.in_flight)?.whole().await?;
        Ok(Self::read(&bytes))
    }
}

impl Form {
    fn read(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The value of a field. One without a value counts as missing, as RFC 6749 has it in 3.1; others are passed over.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ApiError::Malformed(format!("{name} is given twice; give it once"))),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// The value of a field that there must be.
    ///
    /// # Errors
    /// When it is missing, empty or given twice.
    pub fn needed(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::Malformed(format!("{name} is missing")))
    }
}

/// Whether a request's body says to be of a type, whatever its parameters.
pub fn is(request: &Request, media_type: &str) -> bool {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_one_value_or_none() {
        let form = Form::read(b"grant_type=&username=ann%40example.org&password=a+b%00&scope=x&scope=x");
        assert_eq!(form.text("grant_type").unwrap(), None);
        assert_eq!(form.needed("username").unwrap(), "ann@example.org");
        assert_eq!(form.needed("password").unwrap(), "a b\0");
        assert!(matches!(form.text("scope"), Err(ApiError::Malformed(said)) if said.contains("scope")));
        assert!(matches!(form.needed("token"), Err(ApiError::Malformed(said)) if said.contains("token")));
    }
}
