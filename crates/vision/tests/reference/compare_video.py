"""Compares the frames, detections and alerts of a video that was sent to a server with a run of the same ONNX file in Python.

Usage: compare_video.py SERVER MODELS_DIR RESULTS_DIR EVENTS VIDEO STREAM DETECTOR RULE LABEL CONFIDENCE

The token is in SIGHTLINE_TOKEN. The condition of RULE is `label == LABEL && confidence > CONFIDENCE`, for this stream; EVENTS is a file with
what `GET /v1/alerts` has sent so far. The reference runs on the very images that the server kept, decoded by Pillow, whose pixels are
those of the worker (docs/decisions/jpeg-decoder.md). A server keeps no image of a frame without detections: there the reference runs on what
ffmpeg decodes, and must find nothing. Its results are in RESULTS_DIR for the next server with the same images.

- The frames are as many as ffprobe counts in the video, and the luma of each image is what ffmpeg decodes at its place.
- Every detection has a partner in the reference with the same label, and the other way round; `/v1/stats` counts as many.
- A frame has one alert of the rule if the reference has a match in it, with its confidence and the number of matches, and else none;
  the event stream has delivered each of them once.

The two may differ by 0.001 in a confidence, so a detection that is this close to a threshold may be on either side of it; by 0.1 in a
frame without an image, which was compressed before the server looked at it. Nothing else may differ. Exits 1 with a line for each difference.
"""

import collections
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
from PIL import Image

from compare_objects import MAX_SCORE, MIN_IOU, corners, differences
from faces import FACE_LIMITS, Faces
from objects import LIMITS, VEHICLES, Objects, shrink, vehicles

# Mean difference of a pixel, in levels of 255, between an image of the camera program and what ffmpeg decodes: the compression makes up to
# 1.0. The next frame of the clips is 2.9 and 4.6 away in the median.
MAX_LEVELS = 2.0

# Change of a confidence by the compression of a frame.
COMPRESSED_SCORE = 0.1

# Time limit for all results, and the time after which further ones would have arrived.
RESULT_SECONDS, SETTLE_SECONDS = 180, 2


class Server:
    """The server that got the video."""

    def __init__(self, address, token):
        self.address, self.token = address, token

    def get(self, path):
        request = urllib.request.Request(self.address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()

    def list(self, path, **filters):
        """All pages of a list."""
        items, cursor = [], {}
        while True:
            page = json.loads(self.get(f"{path}?{urllib.parse.urlencode({'limit': 200, **filters, **cursor})}"))
            items += page["items"]
            if not page.get("next_cursor"):
                return items
            cursor = {"cursor": page["next_cursor"]}

    def frames(self, stream, expected):
        """The frames in their order, when as many as expected have a result."""
        end = time.monotonic() + RESULT_SECONDS
        while len(self.list("/v1/frames", stream=stream)) < expected and time.monotonic() < end:
            time.sleep(0.5)
        time.sleep(SETTLE_SECONDS)
        return sorted(self.list("/v1/frames", stream=stream), key=lambda frame: frame["captured_at"])

    def counted(self, stream):
        items = json.loads(self.get("/v1/stats?group_by=stream&from=1970-01-01T00:00:00Z"))["items"]
        return sum(item["count"] for item in items if item["key"] == stream)


class Reference:
    """What a detector finds in an image: rows of score, four corners and label, also those that are just below its threshold."""

    def __init__(self, detector, models_dir, results):
        self.is_face, self.results = detector == "face", pathlib.Path(results)
        self.model = {"vehicle": "yolox_nano", "face": "yunet_n"}[detector]
        self.threshold = (FACE_LIMITS if self.is_face else LIMITS)[self.model][0]
        self.network = (Faces if self.is_face else Objects)(self.model, models_dir)

    def detect(self, image):
        file = self.results / f"{self.model}-{hashlib.sha256(image).hexdigest()}.json"
        if not file.exists():
            rgb = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
            file.write_text(json.dumps(self.rows(rgb, self.threshold - MAX_SCORE)))
        return json.loads(file.read_text())

    def rows(self, rgb, threshold):
        if self.is_face:
            self.network.threshold = threshold
            return [[*row[:5], "face"] for row in self.network.detect(rgb, shrink).tolist()]
        return [[*row[:5], VEHICLES[row[5]]] for row in vehicles(self.network.detect(rgb, threshold).tolist())]


class Differences:
    """Prints the first ones and counts all."""

    def __init__(self):
        self.count = 0

    def add(self, text):
        self.count += 1
        if self.count <= 20:
            print(f"DIFFERS: {text}")


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def frames_of(video):
    """How many frames ffprobe decodes."""
    entries = ("-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0")
    return int(run("ffprobe", "-v", "error", *entries, video))


def decoded(video, size):
    """The luma of each frame, in full range, as ffmpeg decodes it."""
    shape = (size[1], size[0])
    command = ("ffmpeg", "-v", "error", "-i", video, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while len(plane := process.stdout.read(shape[0] * shape[1])) == shape[0] * shape[1]:
            yield np.frombuffer(plane, np.uint8).reshape(shape)


def pixels(video, size, wanted):
    """The pixels of the frames with these numbers, as ffmpeg decodes them."""
    shape = (size[1], size[0], 3)
    command = ("ffmpeg", "-v", "error", "-i", video, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for number in range(max(wanted, default=-1) + 1):
            frame = process.stdout.read(shape[0] * shape[1] * shape[2])
            if number in wanted:
                yield number, np.frombuffer(frame, np.uint8).reshape(shape)
        process.kill()


def size_of(images):
    return Image.open(io.BytesIO(next(image for image in images if image is not None))).size


def compare_empty(images, video, reference, found):
    """Whether the reference finds nothing where the server kept no image."""
    wanted = {number for number, image in enumerate(images) if image is None}
    for number, rgb in pixels(video, size_of(images), wanted):
        if rows := reference.rows(rgb, reference.threshold + COMPRESSED_SCORE):
            found.add(f"frame {number}: the server has no detection, the reference {rows}")
    return len(wanted)


def compare_images(images, video, found):
    """Whether each image shows what ffmpeg decodes at its place."""
    most = 0.0
    size = size_of(images)
    for number, (image, luma) in enumerate(zip(images, decoded(video, size), strict=True)):
        if image is None:
            continue
        apart = np.abs(np.asarray(Image.open(io.BytesIO(image)).convert("L")).astype(np.int16) - luma).mean()
        most = max(most, apart)
        if apart > MAX_LEVELS:
            found.add(f"frame {number}: its image is {apart:.1f} levels from what ffmpeg decodes")
    return most


def compare_detections(number, frame, reference, threshold, found):
    ours = [[detection["confidence"], *corners(detection), detection["label"]] for detection in frame["detections"]]
    lowest, score, alone = differences(ours, reference, threshold)
    if alone or lowest < MIN_IOU or score > MAX_SCORE:
        found.add(f"frame {number}: {len(ours)} detections, {alone} without partner, IoU >= {lowest:.3f}, confidence <= {score:.4f} apart")
    return collections.Counter(row[5] for row in ours), collections.Counter(row[5] for row in reference if row[0] >= threshold)


def compare_alerts(number, alerts, matching, confidence, found):
    """The alerts of a frame; `matching` are the confidences of the reference that may be above the rule's."""
    sure = [score for score in matching if score > confidence + MAX_SCORE]
    if len(alerts) > 1 or (sure and not alerts) or (alerts and not matching):
        found.add(f"frame {number}: {len(alerts)} alerts; the reference has {len(sure)} matches")
    for alert in alerts[:1]:
        if not max(len(sure), 1) <= alert["matches"] <= len(matching) or abs(alert["confidence"] - max(matching)) > MAX_SCORE:
            found.add(f"frame {number}: an alert of {alert['matches']} matches, confidence {alert['confidence']}; the reference has {matching}")
    return len(alerts), int(any(score > confidence for score in matching))


def compare_events(events, rule, alerts, found):
    """Whether the event stream has delivered each alert of the rule once."""
    lines = pathlib.Path(events).read_text().splitlines()
    alerts_of = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    delivered = collections.Counter(alert["id"] for alert in alerts_of if alert.get("rule") == rule)
    if delivered != collections.Counter(alert["id"] for alert in alerts):
        found.add(f"the event stream delivered {delivered.total()} alerts, {len(delivered)} of them different; {len(alerts)} are kept")


def main():
    address, models_dir, results, events, video, stream, detector, rule, label, confidence = sys.argv[1:]
    server, reference = Server(address, os.environ["SIGHTLINE_TOKEN"]), Reference(detector, models_dir, results)
    found, confidence, expected = Differences(), float(confidence), frames_of(video)
    frames = server.frames(stream, expected)
    if len(frames) != expected:
        sys.exit(f"DIFFERS: {stream}: {len(frames)} frames have a result, ffprobe counts {expected} in the video")
    kept, alerts = server.list("/v1/alerts/history", rule=rule), collections.defaultdict(list)
    compare_events(events, rule, kept, found)
    for alert in kept:
        alerts[alert["frame_id"]].append(alert)
    images = [server.get(frame["image_url"]) if frame.get("image_url") else None for frame in frames]
    if all(image is None for image in images):
        sys.exit(f"DIFFERS: {stream}: no frame has an image")
    empty, levels = compare_empty(images, video, reference, found), compare_images(images, video, found)
    ours, theirs, raised, due, close = collections.Counter(), collections.Counter(), 0, 0, 0
    for number, (frame, image) in enumerate(zip(frames, images)):
        rows = reference.detect(image) if image else []
        here, there = compare_detections(number, frame, rows, reference.threshold, found)
        matching = [row[0] for row in rows if row[5] == label and row[0] > confidence - MAX_SCORE]
        of_frame, in_reference = compare_alerts(number, alerts.pop(frame["frame_id"], []), matching, confidence, found)
        ours, theirs, raised, due = ours + here, theirs + there, raised + of_frame, due + in_reference
        close += sum(min(abs(row[0] - reference.threshold), abs(row[0] - confidence)) <= MAX_SCORE for row in rows)
    if alerts:
        found.add(f"{len(alerts)} frames with alerts are not frames of the video")
    if (counted := server.counted(stream)) != ours.total():
        found.add(f"/v1/stats counts {counted} detections, the frames have {ours.total()}")
    if not raised or not ours:
        found.add("nothing was compared: no detection or no alert")
    labels = ", ".join(f"{ours[name]} {name} (reference {theirs[name]})" for name in sorted(ours | theirs))
    print(f"{stream}: {len(frames)} frames (ffprobe {expected}; {empty} without detections; images at most {levels:.1f} levels from ffmpeg's), {labels}, "
          f"{raised} alerts (reference {due}); {close} detections are within {MAX_SCORE} of a threshold")
    sys.exit(f"{stream}: {found.count} differences" if found.count else 0)


if __name__ == "__main__":
    main()
