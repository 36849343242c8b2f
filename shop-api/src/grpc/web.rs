//! grpc-web, for browsers, on the port for clients: the same calls in HTTP/1.1.

use api_kit::error::{ApiError, RequestError};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CONTENT_TYPE;
use tonic_web::GrpcWebLayer;

/// Beginning of the media types of grpc-web.
const MEDIA_TYPE: &str = "application/grpc-web";

/// Marks a call that came as grpc-web.
#[derive(Debug, Clone, Copy)]
pub struct IsWeb;

/// The routes of the calls, which accept nothing but grpc-web.
pub fn routes<S: Clone + Send + Sync + 'static>(calls: Router) -> Router<S> {
    calls.layer(GrpcWebLayer::new()).layer(from_fn(only_web)).with_state(())
}

async fn only_web(mut request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return ApiError::from(RequestError::MethodNotAllowed).into_response();
    }
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(|media_type| media_type.starts_with(MEDIA_TYPE)) {
        let allowed = "this path accepts grpc-web (application/grpc-web+proto); gRPC itself has a port of its own";
        return ApiError::from(RequestError::UnsupportedMediaType(allowed.to_owned())).into_response();
    }
    request.extensions_mut().insert(IsWeb);
    next.run(request).await
}
