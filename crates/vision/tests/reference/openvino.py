"""Compares the speed and the accuracy of ONNX Runtime's OpenVINO execution provider with the CPU provider.

Usage: openvino.py MODELS_DIR ROUNDS FILE...   in an environment with openvino-requirements.txt

One thread. For each image the providers take turns; times are CPU time of this process. Prints a row for each model and
way: the first time over all images (each with a shape that may be new), then the mean of the rounds, then how the
detections differ from those of the CPU provider over the same pixels.
"""

import json
import pathlib
import sys
import time

import cv2
import numpy as np
import onnxruntime

from faces import FACE_LIMITS, FILES, Faces, iou


def openvino(precision):
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    options = {"device_type": "CPU", "load_config": json.dumps({"CPU": settings})}
    return [("OpenVINOExecutionProvider", options), "CPUExecutionProvider"]


WAYS = {
    "CPU": ["CPUExecutionProvider"],
    "OpenVINO f32": openvino("f32"),
    "OpenVINO bf16": openvino("bf16"),
}


def shrink(rgb, size):
    return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)


class Timed:
    """A session that counts the CPU time of its runs."""

    def __init__(self, session):
        self.session, self.seconds = session, 0.0

    def run(self, *arguments):
        start = time.process_time()
        outputs = self.session.run(*arguments)
        self.seconds += time.process_time() - start
        return outputs


class Difference:
    """Counts how the detections of one configuration differ from those of the CPU provider."""

    def __init__(self):
        self.paired, self.lost, self.added, self.overlaps, self.scores = 0, 0, 0, [1.0], [0.0]

    def add(self, reference, found):
        left = list(range(len(found)))
        for face in reference:
            best = max(left, key=lambda other: iou(face[1:5], found[other, 1:5]), default=None)
            if best is None or iou(face[1:5], found[best, 1:5]) < 0.5:
                self.lost += 1
                continue
            left.remove(best)
            self.paired += 1
            self.overlaps.append(iou(face[1:5], found[best, 1:5]))
            self.scores.append(abs(face[0] - found[best, 0]))
        self.added += len(left)


def main():
    models_dir, rounds, *files = sys.argv[1:]
    cv2.setNumThreads(1)
    images = [cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB) for file in files]
    print(f"ONNX Runtime {onnxruntime.__version__}, {len(images)} images, {rounds} rounds")
    line = "{:<11} {:<14} {:>9} {:>9} {:>7} {:>6} {:>5} {:>6} {:>8} {:>10} {:>11}"
    print(line.format("model", "way", "first ms", "ms", "ratio", "pairs", "lost", "added", "IoU >=", "IoU mean", "scores <="))
    for name in [name for name in FACE_LIMITS if pathlib.Path(models_dir, FILES[name]).exists()]:
        ways = {way: Faces(name, models_dir, providers) for way, providers in WAYS.items()}
        for way, faces in ways.items():
            wanted = "CPUExecutionProvider" if way == "CPU" else "OpenVINOExecutionProvider"
            # ONNX Runtime silently omits a provider that does not start.
            if faces.session.get_providers()[0] != wanted:
                sys.exit(f"{way}: this ONNX Runtime does not start the {wanted}")
            faces.session = Timed(faces.session)
        first, differences = {}, {way: Difference() for way in ways}
        for rgb in images:
            found = {way: faces.detect(rgb, shrink) for way, faces in ways.items()}
            for way, difference in differences.items():
                difference.add(found["CPU"], found[way])
        for way, faces in ways.items():
            first[way], faces.session.seconds = faces.session.seconds, 0.0
        for _ in range(int(rounds)):
            for rgb in images:
                for faces in ways.values():
                    faces.detect(rgb, shrink)
        for way, faces in ways.items():
            mean = faces.session.seconds / int(rounds) / len(images)
            ratio = ways["CPU"].session.seconds / faces.session.seconds
            seen = differences[way]
            numbers = (f"{1e3 * first[way] / len(images):.2f}", f"{1e3 * mean:.2f}", f"{ratio:.2f}", seen.paired, seen.lost)
            overlaps = (f"{min(seen.overlaps):.4f}", f"{np.mean(seen.overlaps):.5f}", f"{max(seen.scores):.5f}")
            print(line.format(name, way, *numbers, seen.added, *overlaps), flush=True)


if __name__ == "__main__":
    main()
