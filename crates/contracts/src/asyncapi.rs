//! The AsyncAPI 3.0 document of the topics, generated from `topics.yaml` and the events' schemas.

use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::face_upload::{FaceUpload, FaceVerifiedEvent};
use crate::media::{MediaProgressEvent, MediaTaskEvent};
use crate::topics::{Topic, Topics};

/// Attributes of an event: header, description, whether required.
type Attributes = &'static [(&'static str, &'static str, bool)];

const COMMON: Attributes = &[
    ("ce_specversion", "always 1.0", true),
    ("ce_id", "id of the event", true),
    ("ce_type", "type of the event, version included", true),
    ("ce_source", "service that published it", true),
    ("ce_time", "time of the event, RFC 3339", true),
    ("content-type", "media type of the payload", true),
    ("ce_tenant", "tenant that owns the event", true),
    ("ce_traceparent", "W3C trace context", false),
];

const RETENTION: (&str, &str, bool) =
    ("ce_retentiondays", "days for which results and images are kept; the service's setting if missing", false);

const FRAME: Attributes = &[
    ("ce_stream", "stream of the frame", false),
    ("ce_detectors", "detectors that process it, comma-separated; all if missing", false),
    RETENTION,
    ("ce_dataref", "blob key of an image that is too large for the message; the payload is then empty", false),
    ("ce_replyto", "ingest-api replica where a client waits for the result", false),
];

const RESULT: Attributes = &[
    ("ce_subject", "id of the frame", false),
    RETENTION,
    ("ce_replyto", "ingest-api replica where a client waits for the result", false),
];

const ALERT: Attributes = &[("ce_subject", "id of the frame", true)];

const FACE_VERIFIED: Attributes = &[
    ("ce_subject", "id of the user; missing if there is none", false),
    ("ce_tenant", "tenant of the user; missing if there is none", false),
];

const OF_BOOK: Attributes = &[("ce_subject", "id of the book", true)];

const DEAD_LETTER: Attributes = &[
    ("ce_cause", "stable code of the cause", true),
    ("ce_causemessage", "description of the cause", true),
    ("ce_origintopic", "topic of the original message", true),
    ("ce_originpartition", "its partition", true),
    ("ce_originoffset", "its offset", true),
];

/// The AsyncAPI document of these topics.
pub fn document(topics: &Topics) -> Value {
    let channels: Map<String, Value> =
        topics.iter().map(|topic| (topic.role.as_str().to_owned(), channel(topic))).collect();
    let operations: Map<String, Value> = topics.iter().flat_map(operations).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sightline's topics",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "CloudEvents 1.0 in Kafka's binary mode: attributes are headers, the value is the payload. \
                On the results topic a bare vehicle JSON without headers is accepted too, and uploads are always bare JSON.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages()},
    })
}

fn channel(topic: &Topic) -> Value {
    let message = message_name(&topic.event);
    let mut configuration = json!({
        "retention.ms": u64::try_from(topic.retention.as_millis()).unwrap_or(u64::MAX),
        "max.message.bytes": topic.max_message_bytes,
    });
    if let Some(bytes) = topic.retention_bytes {
        configuration["retention.bytes"] = json!(bytes);
    }
    json!({
        "address": topic.name,
        "description": format!("key: {}", topic.key),
        "messages": {&message: {"$ref": format!("#/components/messages/{message}")}},
        "bindings": {"kafka": {
            "partitions": topic.partitions,
            "topicConfiguration": configuration,
        }},
    })
}

fn operations(topic: &Topic) -> Vec<(String, Value)> {
    let of = |action: &str, who: &String| {
        let channel = json!({"$ref": format!("#/channels/{}", topic.role)});
        (format!("{who}-{action}s-{}", topic.role), json!({"action": action, "channel": channel}))
    };
    let sends = topic.writers.iter().map(|who| of("send", who));
    sends.chain(topic.readers.iter().map(|who| of("receive", who))).collect()
}

fn messages() -> Value {
    let json_payload = |schema: &str| json!({"$ref": format!("schemas/{schema}")});
    let image = json!({"description": "the bytes of a JPEG, PNG or WebP image"});
    let original = json!({"description": "the original payload; the original headers have the prefix original_"});
    json!({
        "frame": message("sightline.frame.v1", FRAME, &image),
        "result": message("sightline.result.v1", RESULT, &json_payload("result.v1.json")),
        "alert": message("sightline.alert.v1", ALERT, &json_payload("alert.v1.json")),
        // Bare JSON, without headers.
        "face-upload": {"name": FaceUpload::TYPE, "payload": json_payload("face-upload.v1.json")},
        "face-verified": message(FaceVerifiedEvent::TYPE, FACE_VERIFIED, &json_payload("face-verified.v1.json")),
        "media-task": message(MediaTaskEvent::TYPE, OF_BOOK, &json_payload("media-task.v1.json")),
        "media-progress": message(MediaProgressEvent::TYPE, OF_BOOK, &json_payload("media-progress.v1.json")),
        "dead-letter": message(crate::dead_letter::TYPE, DEAD_LETTER, &original),
    })
}

fn message(event: &str, own: Attributes, payload: &Value) -> Value {
    // A dead letter has no tenant, because its original may be unreadable; the user of an upload may be unknown; books have none.
    let untraced = [crate::dead_letter::TYPE, FaceVerifiedEvent::TYPE, MediaProgressEvent::TYPE].contains(&event);
    let tenantless = untraced || event == MediaTaskEvent::TYPE;
    let is_left_out = |name: &str| (name == "ce_tenant" && tenantless) || (name == "ce_traceparent" && untraced);
    let common = COMMON.iter().filter(|(name, ..)| !is_left_out(name));
    let attributes: Vec<_> = common.chain(own).collect();
    let properties: Map<String, Value> = attributes
        .iter()
        .map(|(name, meaning, _)| ((*name).to_owned(), json!({"type": "string", "description": meaning})))
        .collect();
    let required: Vec<&str> = attributes.iter().filter(|(.., always)| *always).map(|(name, ..)| *name).collect();
    json!({
        "name": event,
        "headers": {"type": "object", "properties": properties, "required": required},
        "payload": payload,
    })
}

/// The message name of an event type: `dead-letter` for `sightline.dead-letter.v1`.
fn message_name(event: &str) -> String {
    event.trim_start_matches("sightline.").split('.').next().unwrap_or_default().to_owned()
}
