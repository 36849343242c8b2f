"""The worker as a plain Python loop: decode, infer, suppress. What the worker's speed is measured against.

Usage: loop.py MODELS_DIR MODEL SECONDS FILE...   Prints frames per second and per second of CPU time.
"""

import itertools
import sys
import time

import cv2
import numpy as np

from faces import Faces


def shrink(rgb, size):
    return cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR)


def main():
    models_dir, model, seconds, *files = sys.argv[1:]
    cv2.setNumThreads(1)
    faces = Faces(model, models_dir)
    encoded = [open(file, "rb").read() for file in files]
    start, cpu, frames, found = time.monotonic(), time.process_time(), 0, 0
    for data in itertools.cycle(encoded):
        if time.monotonic() - start > float(seconds):
            break
        rgb = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        found += len(faces.detect(rgb, shrink))
        frames += 1
    wall, cpu = time.monotonic() - start, time.process_time() - cpu
    print(f"{frames} frames, {found} faces: {frames / wall:.1f} frames/s, {frames / cpu:.1f} frames/CPU-s")


if __name__ == "__main__":
    main()
