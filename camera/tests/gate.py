#!/usr/bin/env python3
"""Whether the motion gate hid something: compares the frames of one recording that were sent without the gate and with it.

gate.py SERVER STREAM GATED_STREAM [LABELS]     the token is in SIGHTLINE_TOKEN

Before, send the recording twice with the same --captured-at:
  sightline push VIDEO --stream STREAM --motion-gate off; sightline push VIDEO --stream GATED_STREAM --motion-gate on
A frame shows something new if a box of it overlaps no box of the last frame that the gate passed on by half. Prints how many frames that
show nothing new were passed over, and every frame that shows something new and was passed over.
"""
import json
import os
import sys
import urllib.parse
import urllib.request
from datetime import datetime

LABELS = "person,face,car,motorcycle,bus,truck,bicycle"


def frames(server, stream, labels):
    found, cursor = {}, None
    while True:
        query = {"limit": 200, "stream": stream, **({"cursor": cursor} if cursor else {})}
        request = urllib.request.Request(f"{server}/v1/frames?{urllib.parse.urlencode(query)}")
        request.add_header("authorization", f"Bearer {os.environ['SIGHTLINE_TOKEN']}")
        page = json.load(urllib.request.urlopen(request))
        for frame in page["items"]:
            moment = datetime.fromisoformat(frame["captured_at"].replace("Z", "+00:00"))
            found[moment] = [detection for detection in frame["detections"] if detection["label"] in labels]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


def overlap(one, other):
    width = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    height = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    if width <= 0 or height <= 0:
        return 0
    common = width * height
    return common / (one["width"] * one["height"] + other["width"] * other["height"] - common)


def new(detections, before):
    return [one for one in detections if all(overlap(one["box"], other["box"]) < 0.5 for other in before)]


def main():
    server, stream, gated, *rest = sys.argv[1:]
    labels = set((rest[0] if rest else LABELS).split(","))
    everything, passed = frames(server, stream, labels), frames(server, gated, labels)
    last, nothing, saved, hidden = None, 0, 0, []
    for number, (moment, detections) in enumerate(sorted(everything.items())):
        shown = detections if last is None else new(detections, last)
        is_new = last is None or bool(shown)
        nothing += not is_new
        if moment in passed:
            last = detections
        elif is_new:
            hidden.append((number, [(one["label"], one["confidence"]) for one in shown]))
        else:
            saved += 1
    share = 100 * saved / max(nothing, 1)
    print(f"{stream}: {len(everything)} frames, {len(passed)} passed; {nothing} show nothing new, {saved} of them ({share:.0f} %) passed over")
    for number, shown in hidden:
        print(f"  frame {number} shows something new and was passed over: {shown}")
    return 1 if hidden else 0


if __name__ == "__main__":
    sys.exit(main())
