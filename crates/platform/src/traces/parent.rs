//! The header `traceparent` of W3C Trace Context.
//!
//! The propagator of the OpenTelemetry SDK refuses the flag `random` (02) of the standard's second edition, and with it the ids of
//! its clients. So the header is parsed here.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Length in bytes of the parts that every version has: `00-<32 digits>-<16 digits>-<2 digits>`.
pub const TRACEPARENT_LENGTH: usize = 55;

/// Whether a text is a valid `traceparent`.
pub fn is_traceparent(text: &str) -> bool {
    parse(text).is_some()
}

/// The span that a `traceparent` names; `None` if it is invalid, and then a new trace begins.
pub(super) fn parse(text: &str) -> Option<SpanContext> {
    let (known, rest) = text.split_at_checked(TRACEPARENT_LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = [version, trace, span, flags].map(str::len);
    if lengths != [2, 32, 16, 2] || parts.next().is_some() || ![version, trace, span, flags].into_iter().all(is_hex) {
        return None;
    }
    // A later version may have more parts.
    let ends_well = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    if version == "ff" || !ends_well {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

/// The `traceparent` of a span.
pub(super) fn format(context: &SpanContext) -> String {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
    format!("00-{trace}-{span}-{flags:02x}")
}

/// The standard allows digits in lower case only.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_valid_parent_is_read_and_written_unchanged() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let context = parse(&text).unwrap();
            assert_eq!((context.is_sampled(), context.is_remote()), (flags == "01", true));
            assert_eq!(format(&context), text);
        }
    }

    #[test]
    fn unknown_flags_and_parts_of_later_versions_are_ignored() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-03"), true),
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), true),
        ] {
            assert_eq!(parse(&text).map(|context| context.is_sampled()), Some(sampled), "{text}");
        }
    }

    #[test]
    fn a_malformed_parent_is_none() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{TRACE}0-{}-01", &SPAN[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
            format!("{}é", "0".repeat(54)),
        ] {
            assert!(!is_traceparent(&text), "{text:?}");
        }
    }
}
