"""Stacks from `perf script` on standard input; a table of parts and their share of the samples on standard output."""

import sys

# A part, and text that one of its functions or its thread contains. A sample belongs to the first part that matches.
PARTS = [
    ("Kafka client's threads", "thread rdk:"),
    ("access log", "platform::http::access::"),
    ("credential and rate limit", "ingest_api::http::auth::authenticate"),
    ("request id", "platform::http::request_id::"),
    ("span of the request, for the log", "tracing::span::Span::"),
    ("metrics of the request", "RequestMetrics::record"),
    ("publishing: message, key, Kafka client's queue", "frames::submit::Frame::send"),
    ("response body", "frames::submit::Frame::accepted"),
    ("sending the response: kernel", "__GI___writev"),
    ("receiving the request: kernel", "__libc_recv"),
    ("waiting for sockets: kernel", "mio::poll::Poll::poll"),
    ("acknowledgements", "AckPoller"),
    ("other parts of the handler and its middleware", "axum::"),
    ("HTTP/1.1: parsing, encoding, connections", "hyper::"),
]


def stacks(lines):
    """One list of names per sample: its thread, then its functions."""
    current = []
    for line in lines:
        if not line.strip():
            if current:
                yield current
            current = []
        elif line[0].isspace():
            current.append(line.split(maxsplit=1)[-1].strip())
        else:
            current = ["thread " + line.strip()]
    if current:
        yield current


def part_of(stack):
    for part, text in PARTS:
        if any(text in name for name in stack):
            return part
    return "rest"


def main():
    counts = dict.fromkeys([part for part, _ in PARTS] + ["rest"], 0)
    for stack in stacks(sys.stdin):
        counts[part_of(stack)] += 1
    total = sum(counts.values())
    missing = [part for part, count in counts.items() if count == 0 and part != "rest"]
    if total < 300 or missing:
        sys.exit(f"{total} samples; none in: {missing}. Run it again, or correct the functions' names in {__file__}")
    print("| part | share of the processor time |\n|---|---:|")
    for part, count in counts.items():
        print(f"| {part} | {100 * count / total:.1f} % |")


main()
