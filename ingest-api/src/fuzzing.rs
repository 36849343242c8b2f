//! What must hold for whatever clients send: the bodies of the fuzz targets, run by `scripts/fuzz` over inputs it makes up
//! and by the tests below over those that are kept in `fuzz/corpus`. Built for these two only.

mod edge;

use axum::body::Body;
use bytes::Bytes;
use contracts::api::Problem;
use contracts::{Event, FrameContent, FrameEvent};
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use store::Cursor;

use crate::probe::{Finding, ImageType, Probe};
use edge::{Answer, Edge, MAX_PIXELS};

/// Longest problem, in bytes: it says what is wrong, and does not send back what was sent.
const LONGEST_PROBLEM: usize = 4096;
/// What is passed on to alert-stream, which is not there.
const PASSED_ON: [&str; 3] = ["/v1/alerts", "/v1/alerts/cookie", "/alerts"];
/// What speaks OAuth 2.0.
const OAUTH: [&str; 3] = ["/v1/token", "/v1/token/revoke", "/v1/token/introspect"];

/// The beginning of a file: what is known of it is known at one byte and does not change with those that follow, however
/// small the pieces in which they come.
pub fn probing(data: &[u8]) {
    let whole = Probe::default().look(data);
    let mut growing = Probe::default();
    let mut known = Finding::Unclear;
    // The header of a JPEG may be long; its beginning is looked at byte by byte, the rest in larger steps.
    let ends = (0..data.len().min(256)).chain((256..data.len()).step_by(97)).chain([data.len()]);
    for end in ends {
        let found = growing.look(&data[..end]);
        assert_eq!(found, Probe::default().look(&data[..end]), "a look at {end} bytes after other looks");
        assert!([Finding::Unclear, found].contains(&known), "{known:?} became {found:?} at {end} bytes");
        known = found;
    }
    assert_eq!(known, whole);
    if let Finding::Image { kind, .. } | Finding::Broken(kind) = whole {
        assert_eq!(ImageType::sniff(data), Some(kind));
        assert_eq!(ImageType::from_media_type(kind.media_type()), Some(kind));
    }
    if whole == Finding::NotAnImage {
        assert_eq!(ImageType::sniff(data), None);
    }
}

/// A form with an image: its Content-Type in the first line, its body in the rest. It is taken or refused whether it comes
/// at once or in pieces, and what is taken is a part of it, unchanged.
pub fn multipart(data: &[u8]) {
    let (media_type, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let Ok(media_type) = HeaderValue::from_bytes(media_type) else { return };
    let send = |sent: Body| {
        let request = Request::post("/v1/frames").header(CONTENT_TYPE, &media_type).body(sent);
        request.ok().map(|request| Edge::get().ask(request))
    };
    let (size, pieces) = (1 + body.len() % 61, body.clone());
    let pieces = (0..body.len()).step_by(size).map(move |at| pieces.slice(at..(at + size).min(pieces.len())));
    let at_once = send(Body::from(body.clone()));
    let in_pieces = send(Body::from_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>))));
    let (Some(at_once), Some(in_pieces)) = (at_once, in_pieces) else { return };
    assert_eq!(assert_taken(&at_once, &body), assert_taken(&in_pieces, &body), "{at_once:?} {in_pieces:?}");
}

/// A request as it is written on the wire, but for the credential: answered as the interface says, whatever it asks.
pub fn requests(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = request.body().clone();
    let answer = Edge::get().ask(request.map(Body::from));
    let passed_on = PASSED_ON.contains(&uri.path()) && answer.status == StatusCode::SERVICE_UNAVAILABLE;
    if OAUTH.contains(&uri.path()) {
        assert_refusal(&answer);
    } else if !passed_on {
        assert_answer(&answer);
    }
    if method == Method::POST && uri.path() == "/v1/frames" {
        assert_taken(&answer, &body);
    }
    if method == Method::GET && uri.path().starts_with("/v1/") {
        assert_page(&answer, uri.path());
    }
}

/// Reads a request out of its text; none where it is not one that an HTTP server would hand on.
fn request(data: &[u8]) -> Option<Request<Bytes>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((data, &b""[..]), |end| (&data[..end], &data[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, uri) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::new(Bytes::copy_from_slice(body));
    *request.method_mut() = method.parse::<Method>().ok()?;
    *request.uri_mut() = uri.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'))?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        // The server holds this one against the body before anybody sees the request.
        if name != CONTENT_LENGTH {
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}

/// No failure of ours; and where it is one of the client's, told as RFC 6749 has it, or a problem for a method that is none.
fn assert_refusal(answer: &Answer) {
    assert!(!answer.status.is_server_error(), "{answer:?}");
    if !answer.status.is_client_error() || answer.status == StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    assert_eq!(answer.media_type.as_deref(), Some("application/json"), "{answer:?}");
    assert!(answer.body.len() <= LONGEST_PROBLEM, "{} bytes of refusal", answer.body.len());
    let refusal = serde_json::from_slice::<serde_json::Value>(&answer.body);
    assert!(refusal.is_ok_and(|refusal| refusal["error"].is_string()), "{answer:?}");
}

/// No failure of ours, and a problem where it is one of the client's.
fn assert_answer(answer: &Answer) {
    assert!(!answer.status.is_server_error(), "{answer:?}");
    if !answer.status.is_client_error() {
        return;
    }
    assert_eq!(answer.media_type.as_deref(), Some("application/problem+json"), "{answer:?}");
    assert!(answer.body.len() <= LONGEST_PROBLEM, "{} bytes of problem", answer.body.len());
    // A HEAD's answer has no body.
    if !answer.body.is_empty() {
        let problem = serde_json::from_slice::<Problem>(&answer.body);
        assert!(problem.as_ref().is_ok_and(|problem| problem.status == answer.status), "{problem:?} {answer:?}");
    }
}

/// What was taken, if anything was: an image within the limits, and a part of what was sent.
fn assert_taken<'a>(answer: &'a Answer, sent: &[u8]) -> Option<&'a Bytes> {
    assert_answer(answer);
    let [message] = answer.published.as_slice() else {
        assert!(answer.published.is_empty() && !answer.status.is_success(), "{answer:?}");
        return None;
    };
    assert!(answer.status.is_success(), "{answer:?}");
    let frame = FrameEvent::from_message(message);
    let inline = |frame: &FrameEvent| matches!(&frame.content, FrameContent::Inline(image) if *image == message.value);
    assert!(frame.as_ref().is_ok_and(inline), "{frame:?}");
    let image = &message.value;
    assert!(sent.windows(image.len().max(1)).any(|part| part == &image[..]), "the image is no part of what was sent");
    let found = Probe::default().look(image);
    let fits = |width: u32, height: u32| (1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height)));
    assert!(matches!(found, Finding::Image { width, height, .. } if fits(width, height)), "{found:?} was taken");
    Some(image)
}

/// The place where a page ends is one from which the list goes on.
fn assert_page(answer: &Answer, path: &str) {
    let Ok(page) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return };
    let Some(next) = page.get("next_cursor").and_then(|next| next.as_str()) else { return };
    assert_eq!(Cursor::decode(next).map(|cursor| cursor.encode()).as_deref(), Ok(next));
    let Ok(uri) = format!("{path}?cursor={next}").parse::<Uri>() else { return };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    assert_eq!(Edge::get().ask(request).status, StatusCode::OK, "{path} from {next}");
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn whatever_a_file_begins_with_is_known_once_and_for_good() {
        replay("probing", super::probing);
    }

    #[test]
    fn whatever_comes_as_a_form_is_taken_whole_or_refused() {
        replay("multipart", super::multipart);
    }

    #[test]
    fn whatever_is_asked_is_answered_as_the_interface_says() {
        replay("requests", super::requests);
    }
}
