//! An error with its causes, for messages and log lines.

/// An error and its causes on one line, because the outermost error often does not name the cause. Line breaks, which
/// messages of ONNX Runtime contain, become spaces.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let whole = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    whole.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The innermost cause, which names the reason.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
