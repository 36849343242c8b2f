"""Finds a person in a video by two of its frames, on a server and in Python with the same ONNX files, and compares both.

Usage: performer.py SIGHTLINE SERVER MODELS_DIR VIDEO

VIDEO is short_hamilton_clip.mp4; SIGHTLINE is the program, which pushes it. The server has the detector `face` and SIGHTLINE_FACES_LIVE=on; the
token is in SIGHTLINE_TOKEN. performer.csv has the truth, labelled by looking at each frame: the first and last frame of each shot in which a
person sees the performer's face, their times, and a region in pixels that has the middle of this face in all of these frames, and of no other.

The reference runs on the very images that the server kept, and, where it kept none, on what ffmpeg decodes (see compare_video.py). Its
threshold follows from crates/gallery/src/calibration.json, as that of the server.

The server must find the performer in at least 0.95 of the frames in which the reference does, and the reference in 0.95 of those of the
truth; neither may take another face for the performer. Exits 1 otherwise.
"""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from datetime import datetime

import numpy as np
from PIL import Image

from compare_video import Server, frames_of, pixels, size_of
from embeddings import Embeddings
from faces import Faces
from objects import shrink

HERE = pathlib.Path(__file__).parent
DETECTOR, MODEL = "yunet_n", "mobilefacenet_128d"
# Enrolled frames of the second shot: faces of the first one are below the least size of an enrolled face.
ENROLLED = (90, 180)
# The default of SIGHTLINE_FACES_LIVE_FALSE_MATCHES.
FALSE_MATCHES = 0.01
LEAST_SHARE = 0.95
# Time limit until enrolled faces count.
ENROLLED_SECONDS = 10
# The times in the truth have three digits.
MAX_SECONDS = 0.002


def threshold(vectors):
    """The similarity that a face must have: of the first measured rate that keeps the promise with so many enrolled faces."""
    measured = json.loads((HERE / "../../../gallery/src/calibration.json").read_text())["models"]
    points = next(model["points"] for model in measured if model["model"] == MODEL)
    return next(point["threshold"] for point in points if point["rate"] <= FALSE_MATCHES / vectors)


def truth():
    """The region of each frame that shows the performer's face, and the times of the frames that begin and end a shot."""
    regions, times = {}, {}
    for shot in csv.DictReader((HERE / "performer.csv").open()):
        first, last = int(shot["first"]), int(shot["last"])
        times |= {first: float(shot["from_seconds"]), last: float(shot["to_seconds"])}
        region = [float(shot[side]) for side in ("left", "top", "right", "bottom")]
        regions |= dict.fromkeys(range(first, last + 1), region)
    return regions, times


def is_performer(region, left, top, right, bottom):
    """Whether the middle of a box is in the region."""
    return region is not None and region[0] <= (left + right) / 2 <= region[2] and region[1] <= (top + bottom) / 2 <= region[3]


class Reference:
    """What the same files find in Python."""

    def __init__(self, models_dir, enrolled):
        self.faces, self.network = Faces(DETECTOR, models_dir), Embeddings(MODEL, models_dir)
        self.enrolled = [vector for rgb in enrolled for _, vector in self.embeddings(rgb)]
        self.threshold = threshold(len(self.enrolled))
        if len(self.enrolled) != len(ENROLLED):
            sys.exit(f"the reference finds {len(self.enrolled)} faces in the {len(ENROLLED)} enrolled frames")

    def embeddings(self, rgb):
        for face in self.faces.detect(rgb, shrink):
            yield face[1:5], self.network.embed(self.network.align(rgb, face[5:].reshape(5, 2)))

    def boxes(self, rgb):
        """The boxes of the faces that it takes for the performer."""
        found = [(box, max(float(vector @ one) for one in self.enrolled)) for box, vector in self.embeddings(rgb)]
        return [box.tolist() for box, similarity in found if similarity >= self.threshold]


def post(server, path, body, **headers):
    headers["Authorization"] = f"Bearer {server.token}"
    request = urllib.request.Request(server.address + path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def enrol(server, images):
    """The id of a subject with these images, when the server compares frames with them."""
    subject = post(server, "/v1/faces/subjects", b"{}", Content_Type="application/json")["id"]
    for image in images:
        post(server, f"/v1/faces/subjects/{subject}/images", image, Content_Type="image/png")
    end = time.monotonic() + ENROLLED_SECONDS
    while time.monotonic() < end:
        frame = post(server, "/v1/frames?stream=enrolled", images[0], Content_Type="image/png", Prefer="wait=30")
        if any(found["attributes"].get("subject") == subject for found in frame["detections"] if "attributes" in found):
            return subject
        time.sleep(0.2)
    sys.exit(f"the server has not recognised an enrolled frame within {ENROLLED_SECONDS} s")


def recognised(frame, subject):
    """The boxes of the faces that the server takes for the performer."""
    boxes = [found["box"] for found in frame["detections"] if found.get("attributes", {}).get("subject") == subject]
    return [[box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]] for box in boxes]


def check_times(frames, times):
    """Whether the frames of the server are those of the truth."""
    captured = [datetime.fromisoformat(frame["captured_at"]) for frame in frames]
    for number, seconds in times.items():
        apart = (captured[number] - captured[0]).total_seconds() - seconds
        if abs(apart) > MAX_SECONDS:
            sys.exit(f"frame {number} is {apart:.3f} s from its time in performer.csv")


def judge(name, boxes, regions):
    """The frames in which the performer was found, and how often another face was taken for the performer."""
    found, wrong = set(), []
    for number, of_frame in enumerate(boxes):
        right = [box for box in of_frame if is_performer(regions.get(number), *box)]
        found |= {number} if right else set()
        # One frame shows the performer once.
        wrong += [number] * (len(of_frame) - min(len(right), 1))
    print(f"{name}: the performer is found in {len(found)} of {len(regions)} frames that show the face; {len(wrong)} false matches"
          f"{f', in the frames {wrong}' if wrong else ''}; not found in {sorted(set(regions) - found)}")
    return found, wrong


def main():
    program, address, models_dir, video = sys.argv[1:]
    server, stream, expected = Server(address, os.environ["SIGHTLINE_TOKEN"]), pathlib.Path(video).stem, frames_of(video)
    size = (640, 360)
    enrolled = [rgb for _, rgb in pixels(video, size, set(ENROLLED))]
    reference = Reference(models_dir, enrolled)
    subject = enrol(server, [png(rgb) for rgb in enrolled])
    subprocess.run([program, "push", "--server", address, video], check=True)
    frames = server.frames(stream, expected)
    if len(frames) != expected:
        sys.exit(f"{len(frames)} frames have a result, ffprobe counts {expected} in the video")
    regions, times = truth()
    check_times(frames, times)
    images = [server.get(frame["image_url"]) if frame.get("image_url") else None for frame in frames]
    if size_of(images) != size:
        sys.exit(f"the frames have {size_of(images)} pixels")
    shown = dict(pixels(video, size, {number for number, image in enumerate(images) if image is None}))
    shown |= {number: np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) for number, image in enumerate(images) if image}
    theirs, their_wrong = judge("reference", [reference.boxes(shown[number]) for number in range(expected)], regions)
    ours, our_wrong = judge("server", [recognised(frame, subject) for frame in frames], regions)
    people = sum(len(frame["detections"]) for frame in frames)
    share, of_truth = len(ours & theirs) / max(len(theirs), 1), len(theirs) / len(regions)
    print(f"{expected} frames, {people} faces found; threshold {reference.threshold}; the server finds {share:.3f} of what the reference finds")
    if min(share, of_truth) < LEAST_SHARE or our_wrong or their_wrong:
        sys.exit("the performer was not found as often as demanded, or falsely")


def png(rgb):
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "png")
    return data.getvalue()


if __name__ == "__main__":
    main()
