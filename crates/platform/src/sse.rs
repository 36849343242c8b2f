//! Server-sent events as the WHATWG HTML standard defines them ("Parsing an event stream"), for clients that resume.
//!
//! In: bytes in pieces of any size. Out: events and the last id, which blocks without data also update.

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; `message` if the server set none.
    pub event: String,
    /// Its data, lines joined by `\n`.
    pub data: String,
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    event: String,
    data: Vec<String>,
    pending_id: Option<String>,
    last_id: Option<String>,
}

impl SseParser {
    /// The id to resume from: that of the last complete block that had one.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Adds bytes; returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_of_line());
                }
                _ => {
                    self.after_cr = false;
                    self.line.push(byte);
                }
            }
        }
        events
    }

    fn end_of_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.pending_id = Some(value.to_owned()),
            // Comments (an empty field name) and unknown fields.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        if let Some(id) = self.pending_id.take() {
            self.last_id = Some(id);
        }
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        if data.is_empty() {
            return None;
        }
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(SseEvent { event, data: data.join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\n\nid: a\n\nevent: alert\nid: b\ndata: {\"x\":\ndata: 1}\n\ndata:bare\r\n\r\nid: c\rdata: cut";

    #[test]
    fn events_do_not_depend_on_the_pieces() {
        let expected = [("alert", "{\"x\":\n1}"), ("message", "bare")];
        for size in 1..STREAM.len() {
            let mut parser = SseParser::default();
            let events: Vec<SseEvent> = STREAM.as_bytes().chunks(size).flat_map(|piece| parser.feed(piece)).collect();
            let seen: Vec<(&str, &str)> = events.iter().map(|event| (&*event.event, &*event.data)).collect();
            assert_eq!(seen, expected, "in pieces of {size}");
            // Block c is not complete: resuming from it would lose its event.
            assert_eq!(parser.last_id(), Some("b"));
        }
    }

    #[test]
    fn a_block_with_only_an_id_updates_the_last_id() {
        let mut parser = SseParser::default();
        assert!(parser.feed(b"id: 7\n\n").is_empty());
        assert_eq!(parser.last_id(), Some("7"));
    }
}
