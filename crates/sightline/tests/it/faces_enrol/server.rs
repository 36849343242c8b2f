//! A server with the routes of subjects and their images, in memory. It has faults for requests that a test chooses.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

const SUBJECTS: &str = "/v1/faces/subjects";

/// What the server does instead of its work.
pub enum Fault {
    /// This problem: status line, code, detail.
    Problem(&'static str, &'static str, &'static str),
    /// A problem with status 503 and `Retry-After`: seconds, code, detail.
    TryAgain(u64, &'static str, &'static str),
    /// No answer, ever.
    Silence,
}

/// Chooses the fault of a request, by the number of earlier requests that were the same.
pub type Faults = fn(&Request, usize) -> Option<Fault>;

#[derive(Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub content_type: String,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Request {
    /// Whether the body is an image with this text in it.
    pub fn has_image(&self, text: &str) -> bool {
        self.target.ends_with("/images") && String::from_utf8_lossy(&self.body).contains(text)
    }

    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            read_more(stream, &mut bytes);
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + length {
            read_more(stream, &mut bytes);
        }
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let content_type = header("content-type").unwrap_or_default();
        Self { method, target, content_type, body: bytes[end..].to_vec(), at: Instant::now() }
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) {
    let mut more = [0; 4096];
    let length = stream.read(&mut more).unwrap();
    assert!(length > 0, "the request ends early");
    bytes.extend_from_slice(&more[..length]);
}

/// What the server has, and was asked.
#[derive(Default)]
struct State {
    /// Their bodies, in the order in which they were created.
    subjects: Vec<Value>,
    /// Number of the subject and content.
    images: BTreeSet<(usize, Vec<u8>)>,
    requests: Vec<Request>,
    unanswered: Vec<TcpStream>,
}

pub struct FakeServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl FakeServer {
    pub fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, state) = (stream.unwrap(), Arc::clone(&shared));
                // A thread each: requests come at the same time.
                std::thread::spawn(move || {
                    let request = Request::read(&mut stream);
                    let mut state = state.lock().unwrap();
                    match state.answer(request, faults) {
                        Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                        None => state.unanswered.push(stream),
                    }
                });
            }
        });
        Self { url, state }
    }

    /// External id and name of each subject, with the number of its images.
    pub fn subjects(&self) -> Vec<(String, String, usize)> {
        let state = self.state.lock().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let subjects = state.subjects.iter().enumerate().map(|(number, subject)| {
            let images = state.images.iter().filter(|(own, _)| *own == number).count();
            (text(&subject["external_id"]), text(&subject["name"]), images)
        });
        subjects.collect()
    }

    /// The requests that sent an image.
    pub fn sent_images(&self) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|request| request.target.ends_with("/images")).cloned().collect()
    }

    /// Number of all requests.
    pub fn request_count(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }
}

impl State {
    fn answer(&mut self, request: Request, faults: Faults) -> Option<String> {
        let is_same = |other: &&Request| {
            (&other.method, &other.target, &other.body) == (&request.method, &request.target, &request.body)
        };
        let earlier = self.requests.iter().filter(is_same).count();
        let fault = faults(&request, earlier);
        let answer = match fault {
            Some(Fault::Silence) => None,
            Some(Fault::Problem(status, code, detail)) => Some(problem(status, code, detail, "")),
            Some(Fault::TryAgain(seconds, code, detail)) => {
                let header = format!("retry-after: {seconds}\r\n");
                Some(problem("503 Service Unavailable", code, detail, &header))
            }
            None => Some(self.work(&request)),
        };
        self.requests.push(request);
        answer
    }

    fn work(&mut self, request: &Request) -> String {
        let url = reqwest::Url::parse(&format!("http://server{}", request.target)).unwrap();
        match (request.method.as_str(), url.path()) {
            ("POST", SUBJECTS) => self.create(&serde_json::from_slice(&request.body).unwrap()),
            ("GET", SUBJECTS) => {
                let wanted = url.query_pairs().find(|(name, _)| name == "external_id").unwrap().1;
                let is_wanted = |subject: &&Value| subject["external_id"] == *wanted;
                let items: Vec<&Value> = self.subjects.iter().filter(is_wanted).collect();
                response("200 OK", &json!({"items": items, "next_cursor": null}), "")
            }
            ("POST", path) => match self.subject_of(path) {
                Some(subject) => {
                    let is_new = self.images.insert((subject, request.body.clone()));
                    let body = json!({"id": id(1000), "model": "test", "box": [0, 0, 1, 1], "confidence": 0.9});
                    response(if is_new { "201 Created" } else { "200 OK" }, &body, "")
                }
                None => problem("404 Not Found", "not_found", "there is no such subject", ""),
            },
            _ => problem("404 Not Found", "not_found", "there is no such path", ""),
        }
    }

    fn create(&mut self, new: &Value) -> String {
        if self.subjects.iter().any(|subject| subject["external_id"] == new["external_id"]) {
            return problem("409 Conflict", "external_id_taken", "another subject has this external_id", "");
        }
        let mut subject = new.clone();
        subject["id"] = id(self.subjects.len()).into();
        self.subjects.push(subject.clone());
        response("201 Created", &subject, "")
    }

    /// The number of the subject in the path of its images.
    fn subject_of(&self, path: &str) -> Option<usize> {
        let own = path.strip_prefix(SUBJECTS)?.strip_prefix('/')?.strip_suffix("/images")?;
        self.subjects.iter().position(|subject| subject["id"] == *own)
    }
}

fn id(number: usize) -> String {
    format!("0198c2a0-0000-7000-8000-{number:012}")
}

fn problem(status: &str, code: &str, detail: &str, headers: &str) -> String {
    let number: u16 = status[..3].parse().unwrap();
    let body = json!({"type": "about:blank", "title": &status[4..], "status": number, "code": code, "detail": detail});
    response(status, &body, headers)
}

fn response(status: &str, body: &Value, headers: &str) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
}
