#!/usr/bin/env python3
"""Whether the motion gate hides something: compares the frames of a video that the gate sends with the detections of all frames.

gate.py SIGHTLINE SERVER VIDEO[=SHARE]...     started by scripts/gate-check; the token of the server is in SIGHTLINE_TOKEN

All frames of each video go to the server, whose detectors are `face` and `objects`. The frames that the gate lets pass go to a server of
this program, which only keeps their times. A frame shows something new if a box of it overlaps no box of the last frame that was sent
by half. Fails if a frame was skipped that shows something new, or if less than SHARE percent of the frames that show nothing new were.
"""
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from datetime import datetime

LABELS = {"person", "face", "car", "motorcycle", "bus", "truck", "bicycle"}
DETECTORS = {"face", "objects"}
# The same for both runs, so that their frames have the same times.
BEGINS = "2026-01-01T00:00:00Z"
# Longest time until the detectors are done with a video, in seconds.
LIMIT = 300


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Times(http.server.BaseHTTPRequestHandler):
    """Accepts frames and keeps their times by stream."""

    protocol_version = "HTTP/1.1"
    seen = {}

    def answer(self, status, body=b""):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query))
        self.seen.setdefault(query["stream"], set()).add(moment(query["captured_at"]))
        self.answer(202, b'{"frame_id": "of the check"}')

    def do_PUT(self):
        self.answer(204)

    def log_message(self, *arguments):
        pass


def push(sightline, server, video, gate):
    """Sends a video; returns its counts."""
    command = [sightline, "push", video, "--server", server, "--captured-at", BEGINS, "--motion-gate", gate, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def frames(server, stream):
    """The frames of a stream with their results: those that are there."""
    found, cursor = {}, None
    while True:
        query = {"limit": 200, "stream": stream, **({"cursor": cursor} if cursor else {})}
        request = urllib.request.Request(f"{server}/v1/frames?{urllib.parse.urlencode(query)}")
        request.add_header("authorization", f"Bearer {os.environ['SIGHTLINE_TOKEN']}")
        page = json.load(urllib.request.urlopen(request, timeout=60))
        found.update({moment(frame["captured_at"]): frame for frame in page["items"]})
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def is_done(frame):
    return {result["detector"] for result in frame["results"] if result["status"] == "ok"} == DETECTORS


def detections(server, stream, count):
    """The detections of all frames of a stream, in their order, when every detector is done."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = frames(server, stream)
        if len(found) == count and all(is_done(frame) for frame in found.values()):
            seen = {at: [one for one in frame["detections"] if one["label"] in LABELS] for at, frame in found.items()}
            return sorted(seen.items())
        time.sleep(0.5)
    raise SystemExit(f"{stream}: the detectors are not done with {count} frames after {LIMIT} s")


def overlap(one, other):
    width = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    height = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    if width <= 0 or height <= 0:
        return 0
    common = width * height
    return common / (one["width"] * one["height"] + other["width"] * other["height"] - common)


def new(found, before):
    return [one for one in found if all(overlap(one["box"], other["box"]) < 0.5 for other in before)]


def judge(everything, sent):
    """How many frames show nothing new, how many of them were skipped, and the skipped ones that show something new."""
    last, nothing, skipped, hidden = None, 0, 0, []
    for number, (at, found) in enumerate(everything):
        shown = found if last is None else new(found, last)
        is_new = last is None or bool(shown)
        nothing += not is_new
        if at in sent:
            last = found
        elif is_new:
            hidden.append((number, [(one["label"], round(one["confidence"], 2)) for one in shown]))
        else:
            skipped += 1
    return nothing, skipped, hidden


def main():
    sightline, server, *videos = sys.argv[1:]
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Times)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    wanted = {video: float(share or 0) for video, _, share in (argument.partition("=") for argument in videos)}
    # The detectors work on one video while the next is read.
    counts = {video: push(sightline, server, video, "off")["frames_sent"] for video in wanted}
    good = True
    for video, least in wanted.items():
        counted = push(sightline, f"http://127.0.0.1:{receiver.server_port}", video, "on")
        name = pathlib.Path(video).stem
        sent = Times.seen[name]
        assert len(sent) == counted["frames_sent"] and len(sent) + counted["frames_skipped"] == counts[video], counted
        everything = detections(server, name, counts[video])
        assert sent <= {at for at, _ in everything}, "the two runs have frames of different times"
        assert any(found for _, found in everything), f"{name}: the detectors find nothing"
        nothing, skipped, hidden = judge(everything, sent)
        share = 100 * skipped / max(nothing, 1)
        print(f"{name}: {len(everything)} frames, {len(sent)} sent; {nothing} show nothing new, {skipped} of them ({share:.1f} %) skipped")
        for number, shown in hidden:
            print(f"  frame {number} shows something new and was skipped: {shown}")
        if share < least:
            print(f"  at least {least:.0f} % must be skipped")
        good &= not hidden and share >= least
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
