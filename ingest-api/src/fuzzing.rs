//! Fuzz targets of this crate: each function takes any bytes and panics where a guarantee is broken. `scripts/fuzz` runs them
//! on generated inputs, the tests below on the inputs in `fuzz/corpus`. Compiled only for fuzzing and tests.

mod edge;
mod fakes;
mod openid;

use axum::body::Body;
use bytes::Bytes;
use contracts::api::Problem;
use contracts::{Event, FrameContent, FrameEvent};
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use store::{List, PageCursor};

use crate::probe::{Finding, ImageType, Probe};
use edge::{Answer, Edge, MAX_PIXELS};

// `self`, because a crate has the same name.
pub use self::openid::openid;

/// Maximum length of a problem in bytes. A problem names the fault and does not repeat the input.
const LONGEST_PROBLEM: usize = 4096;
/// Routes that are proxied to alert-stream, which does not run here.
const PROXIED: [&str; 3] = ["/v1/alerts", "/v1/alerts/cookie", "/alerts"];
/// Routes whose errors follow RFC 6749.
const OAUTH: [&str; 3] = ["/v1/token", "/v1/token/revoke", "/v1/token/introspect"];

/// The first bytes of a file. Once its type and size are found, further bytes do not change them. The size of the chunks has no effect.
pub fn probing(data: &[u8]) {
    let whole = Probe::default().update(data);
    let mut growing = Probe::default();
    let mut known = Finding::Incomplete;
    // A JPEG header may be long: its first 256 bytes come one by one, the rest in larger steps.
    let ends = (0..data.len().min(256)).chain((256..data.len()).step_by(97)).chain([data.len()]);
    for end in ends {
        let found = growing.update(&data[..end]);
        assert_eq!(found, Probe::default().update(&data[..end]), "{end} bytes, after shorter prefixes");
        assert!([Finding::Incomplete, found].contains(&known), "{known:?} became {found:?} at {end} bytes");
        known = found;
    }
    assert_eq!(known, whole);
    if let Finding::Image { kind, .. } | Finding::Broken(kind) = whole {
        assert_eq!(ImageType::sniff(data), Some(kind));
    }
    if whole == Finding::NotAnImage {
        assert_eq!(ImageType::sniff(data), None);
    }
}

/// A form with an image: the Content-Type in the first line, the body in the rest. The result is the same for a whole body and
/// for chunks, and an accepted image is an unchanged part of the body.
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
    assert_eq!(assert_accepted(&at_once, &body), assert_accepted(&in_pieces, &body), "{at_once:?} {in_pieces:?}");
}

/// A request as text, without its credential. The response must be one that the API allows.
pub fn requests(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = request.body().clone();
    let response = Edge::get().ask(request.map(Body::from));
    let proxied = PROXIED.contains(&uri.path()) && response.status == StatusCode::SERVICE_UNAVAILABLE;
    if OAUTH.contains(&uri.path()) {
        assert_refusal(&response);
    } else if !proxied {
        assert_answer(&response);
    }
    if method == Method::POST && uri.path() == "/v1/frames" {
        assert_accepted(&response, &body);
    }
    if method == Method::GET && uri.path().starts_with("/v1/") {
        assert_page(&response, uri.path());
    }
}

/// Parses a request. `None` for text that an HTTP server would refuse itself.
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
        // The HTTP server checks this before the service gets the request.
        if name != CONTENT_LENGTH {
            request.headers_mut().append(name, value);
        }
    }
    Some(request)
}

/// No 5xx, and a 4xx has an error of RFC 6749, section 5.2, except for a wrong method.
fn assert_refusal(response: &Answer) {
    assert!(!response.status.is_server_error(), "{response:?}");
    if !response.status.is_client_error() || response.status == StatusCode::METHOD_NOT_ALLOWED {
        return;
    }
    assert_eq!(response.header(CONTENT_TYPE), Some("application/json"), "{response:?}");
    assert!(response.body.len() <= LONGEST_PROBLEM, "{} bytes of refusal", response.body.len());
    let refusal = serde_json::from_slice::<serde_json::Value>(&response.body);
    assert!(refusal.is_ok_and(|refusal| refusal["error"].is_string()), "{response:?}");
}

/// No 5xx, and a 4xx has a problem.
fn assert_answer(response: &Answer) {
    assert!(!response.status.is_server_error(), "{response:?}");
    if !response.status.is_client_error() {
        return;
    }
    assert_eq!(response.header(CONTENT_TYPE), Some("application/problem+json"), "{response:?}");
    assert!(response.body.len() <= LONGEST_PROBLEM, "{} bytes of problem", response.body.len());
    // The response to a HEAD has no body.
    if !response.body.is_empty() {
        let problem = serde_json::from_slice::<Problem>(&response.body);
        assert!(problem.as_ref().is_ok_and(|problem| problem.status == response.status), "{problem:?} {response:?}");
    }
}

/// The accepted image, if there is one: within the limits, and a part of the body.
fn assert_accepted<'a>(response: &'a Answer, sent: &[u8]) -> Option<&'a Bytes> {
    assert_answer(response);
    let [message] = response.published.as_slice() else {
        assert!(response.published.is_empty() && !response.status.is_success(), "{response:?}");
        return None;
    };
    assert!(response.status.is_success(), "{response:?}");
    let frame = FrameEvent::from_message(message);
    let inline = |frame: &FrameEvent| matches!(&frame.content, FrameContent::Inline(image) if *image == message.value);
    assert!(frame.as_ref().is_ok_and(inline), "{frame:?}");
    let image = &message.value;
    assert!(sent.windows(image.len().max(1)).any(|part| part == &image[..]), "the image is not a part of the body");
    let found = Probe::default().update(image);
    let fits = |width: u32, height: u32| (1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height)));
    assert!(matches!(found, Finding::Image { width, height, .. } if fits(width, height)), "{found:?} was accepted");
    Some(image)
}

/// The cursor of a page continues the list.
fn assert_page(response: &Answer, path: &str) {
    let Ok(page) = serde_json::from_slice::<serde_json::Value>(&response.body) else { return };
    let Some(next) = page.get("next_cursor").and_then(|next| next.as_str()) else { return };
    let again = List::ALL.into_iter().filter_map(|list| Some(PageCursor::decode(next, list).ok()?.encode(list)));
    assert_eq!(again.collect::<Vec<_>>(), [next]);
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
    fn probing_does_not_depend_on_chunk_size() {
        replay("probing", super::probing);
    }

    #[test]
    fn a_form_is_accepted_unchanged_or_refused() {
        replay("multipart", super::multipart);
    }

    #[test]
    fn every_request_gets_an_allowed_response() {
        replay("requests", super::requests);
    }

    #[test]
    fn only_a_token_for_this_sign_in_signs_in() {
        replay("openid", super::openid);
    }

    #[test]
    fn a_valid_sign_in_succeeds_both_ways() {
        assert_eq!(super::openid::sign_in(include_bytes!("../../fuzz/corpus/openid/good")), 2);
    }
}
