//! URL-encoded forms (`application/x-www-form-urlencoded`), as OAuth 2.0 and older clients send them.

use api_kit::describe::{Argument, Requirements};
use api_kit::error::{ApiError, RequestError};
use api_kit::upload::{BODY_ERRORS, IncomingBody};
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;

use crate::http::app::App;

/// The media type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form, in their order.
pub struct Form(Vec<(String, String)>);

impl Argument for Form {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
    }
}

impl FromRequest<App> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !is(&request, FORM) {
            let reason = format!("the body must be a form, with Content-Type: {FORM}");
            return Err(RequestError::UnsupportedMediaType(reason).into());
        }
        let bytes = IncomingBody::begin(request, app.form_limits(), &app.bytes_in_flight)?.collect().await?;
        Ok(Self::read(&bytes))
    }
}

impl Form {
    fn read(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The value of a field; `None` if it is missing or empty (RFC 6749, 3.1).
    ///
    /// # Errors
    /// When it is given twice.
    pub fn text(&self, name: &str) -> Result<Option<&str>, RequestError> {
        let mut values = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(RequestError::Malformed(format!("{name} is given twice; send it once"))),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// The value of a required field.
    ///
    /// # Errors
    /// When it is missing, empty or given twice.
    pub fn required(&self, name: &str) -> Result<&str, RequestError> {
        self.text(name)?.ok_or_else(|| RequestError::Malformed(format!("{name} is missing")))
    }
}

/// Whether the Content-Type of a request is `media_type`, with any parameters.
pub fn is(request: &Request, media_type: &str) -> bool {
    let declared = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_field_is_refused_and_an_empty_one_is_missing() {
        let form = Form::read(b"grant_type=&username=ann%40example.org&password=a+b%00&scope=x&scope=x");
        assert_eq!(form.text("grant_type").unwrap(), None);
        assert_eq!(form.required("username").unwrap(), "ann@example.org");
        assert_eq!(form.required("password").unwrap(), "a b\0");
        assert!(matches!(form.text("scope"), Err(RequestError::Malformed(message)) if message.contains("scope")));
        assert!(matches!(form.required("token"), Err(RequestError::Malformed(message)) if message.contains("token")));
    }
}
