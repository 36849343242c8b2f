"""The worker as a plain Python loop: decode, infer, suppress. The bench compares the worker's speed with it.

Usage: loop.py MODELS_DIR MODEL FRAMES FILE...   Prints, as JSON, how many frames took how many seconds on the clock and of
CPU time, after one pass over the files that is not counted.
"""

import itertools
import json
import sys
import time

import cv2
import numpy as np

from faces import Faces


def shrink(rgb, size):
    return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)


def main():
    models_dir, model, frames, *files = sys.argv[1:]
    cv2.setNumThreads(1)
    faces = Faces(model, models_dir)
    encoded = [open(file, "rb").read() for file in files]

    def detect(data):
        rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return len(faces.detect(rgb, shrink))

    for data in encoded:
        detect(data)
    start, cpu = time.monotonic(), time.process_time()
    found = sum(detect(data) for data in itertools.islice(itertools.cycle(encoded), int(frames)))
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    print(json.dumps({"frames": int(frames), "faces": found, "seconds": wall, "cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
