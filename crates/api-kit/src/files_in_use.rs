//! Refuses changes while a file of an embedded part is not at its path: what is stored then is lost with the process.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use store::FilesInUse;

use crate::error::{ApiError, ServiceError};

/// The routes, with a check of each response to a change. Without files, which is the case on servers, the check costs nothing.
pub fn checked<S: Clone + Send + Sync + 'static>(routes: Router<S>, files: &FilesInUse) -> Router<S> {
    if files.is_empty() { routes } else { routes.layer(from_fn_with_state(files.clone(), check)) }
}

/// Checks after the handler, right before the response: nothing is acknowledged that cannot survive.
async fn check(State(files): State<FilesInUse>, request: Request, next: Next) -> Response {
    let changes = !request.method().is_safe();
    let response = next.run(request).await;
    if !changes {
        return response;
    }
    files.check().map_or_else(|lost| ApiError::from(ServiceError::FilesLost(lost)).into_response(), |()| response)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::{Method, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn no_change_is_acknowledged_once_a_file_in_use_is_deleted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let files = FilesInUse::at([file.path().to_owned()]).unwrap();
        let routes = checked(Router::new().route("/", get("read").post("done").delete("done")), &files);
        let status = async |method: &Method| {
            let request = Request::builder().method(method).body(Body::empty()).unwrap();
            routes.clone().oneshot(request).await.unwrap().status()
        };
        let changes = [Method::POST, Method::DELETE];
        for method in &changes {
            assert_eq!(status(method).await, StatusCode::OK, "{method}");
        }
        drop(file);
        for method in &changes {
            assert_eq!(status(method).await, StatusCode::SERVICE_UNAVAILABLE, "{method}");
        }
        assert_eq!(status(&Method::GET).await, StatusCode::OK);
    }
}
