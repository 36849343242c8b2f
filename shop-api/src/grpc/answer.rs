//! The response of a call: it ends at the deadline, a stream also at the stop of the service, and its status is counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use super::status::{GrpcError, status_of};
use crate::proto::Method;

/// Buckets of times are those of the HTTP routes.
const SECONDS: &str = "sightline_grpc_request_seconds";

/// A call, which is counted when this is dropped.
pub struct Answer {
    path: &'static str,
    begin: Instant,
    /// `None` before the status is known. Dropped before, the call was cancelled.
    code: Option<Code>,
}

impl Answer {
    /// A call that has just arrived.
    pub fn begin(method: &Method) -> Self {
        Self { path: method.path, begin: Instant::now(), code: None }
    }

    /// The response, which ends at `end`, and at `stop` if there is one.
    pub fn with(mut self, response: Response, end: Option<Instant>, stop: Option<CancellationToken>) -> Response {
        self.read_code(response.headers());
        response.map(|body| {
            let (end, stop) = if body.is_end_stream() { (None, None) } else { (end, stop) };
            let end = end.map(|end| Box::pin(sleep_until(end)));
            let stop = stop.map(|stop| Box::pin(stop.cancelled_owned()));
            Body::new(AnswerBody { body: Some(body), answer: self, end, stop })
        })
    }

    /// The status is in the headers of a response without messages, and in the trailers of any other.
    fn read_code(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let code = self.code.map_or(Code::Cancelled as i32, |code| code as i32).to_string();
        metrics::counter!("sightline_grpc_requests_total", "method" => self.path, "code" => code).increment(1);
        metrics::histogram!(SECONDS, "method" => self.path).record(self.begin.elapsed());
    }
}

struct AnswerBody {
    /// `None` after an early end.
    body: Option<Body>,
    answer: Answer,
    end: Option<Pin<Box<Sleep>>>,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl AnswerBody {
    /// Why the call ends early, as soon as it does.
    fn poll_early_end(&mut self, context: &mut Context<'_>) -> Poll<GrpcError> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(GrpcError::DeadlineExceeded);
        }
        let Some(stop) = &mut self.stop else { return Poll::Pending };
        ready!(stop.as_mut().poll(context));
        Poll::Ready(GrpcError::Stopping)
    }

    /// The trailers of a call that ends early. The service works no longer for it.
    fn cut(&mut self, error: GrpcError) -> Frame<Bytes> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        // The status has only headers that we make, so all of them are valid.
        drop(status_of(error).add_header(&mut trailers));
        self.answer.read_code(&trailers);
        Frame::trailers(trailers)
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(polled) = Pin::new(body).poll_frame(context) {
            if let Some(Ok(frame)) = &polled
                && let Some(trailers) = frame.trailers_ref()
            {
                self.answer.read_code(trailers);
            }
            return Poll::Ready(polled);
        }
        let error = ready!(self.poll_early_end(context));
        Poll::Ready(Some(Ok(self.cut(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    const METHOD: Method = Method {
        service: "shop.v1.AdminService",
        path: "/shop.v1.AdminService/WatchPipeline",
        access: crate::proto::Access::Admin,
        client_streaming: false,
        server_streaming: true,
    };

    fn endless() -> Response {
        let endless = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        Response::new(Body::from_stream(endless))
    }

    async fn status(response: Response) -> String {
        let collected = response.into_body().collect().await.unwrap();
        collected.trailers().unwrap()[Status::GRPC_STATUS].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline() {
        let end = Instant::now() + Duration::from_millis(30);
        assert_eq!(status(Answer::begin(&METHOD).with(endless(), Some(end), None)).await, "4");
        assert!(Instant::now() >= end);
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_service_stops() {
        let stop = CancellationToken::new();
        let response = Answer::begin(&METHOD).with(endless(), None, Some(stop.clone()));
        stop.cancel();
        assert_eq!(status(response).await, "14");
    }
}
