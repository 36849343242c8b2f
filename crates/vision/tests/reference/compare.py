"""Compares the worker's detections with those of `faces.py` on the same ONNX file.

Usage: compare.py MODELS_DIR DUMP_DIR FILE...  where DUMP_DIR was written by the worker's example `dump`.

First over the very pixels the worker decoded: every box must agree to an IoU of 0.99, every landmark to half a pixel,
every score to 0.001, and none may be missing. Then over the pixels that Pillow decodes, which only reports what the
decoder changes. Exits 1 where the first comparison fails.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

from faces import FACE_LIMITS, FILES, Faces, iou

MIN_IOU, MAX_PIXELS, MAX_SCORE = 0.99, 0.5, 0.001


def shrink(rgb, size):
    """Scales down as Pillow does, without rounding to whole levels."""
    planes = [Image.fromarray(np.ascontiguousarray(rgb[..., colour], dtype=np.float32)) for colour in range(3)]
    return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], 2)


def worker_rows(detections):
    rows = []
    for face in detections:
        box = face["box"]
        corners = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
        points = [number for point in face["landmarks"] for number in (point["x"], point["y"])]
        rows.append([face["confidence"], *corners, *points])
    return np.array(rows, np.float64).reshape(-1, 15)


def differences(ours, reference):
    """Returns the lowest IoU, the largest landmark and score differences of the best pairs, and the number of unpaired detections."""
    lowest, pixels, score, alone, left = 1.0, 0.0, 0.0, 0, list(range(len(reference)))
    for face in ours:
        best = max(left, key=lambda other: iou(face[1:5], reference[other, 1:5]), default=None)
        if best is None or iou(face[1:5], reference[best, 1:5]) < 0.5:
            alone += 1
            continue
        left.remove(best)
        lowest = min(lowest, iou(face[1:5], reference[best, 1:5]))
        pixels = max(pixels, np.abs(face[5:] - reference[best, 5:]).max())
        score = max(score, abs(face[0] - reference[best, 0]))
    return lowest, pixels, score, alone + len(left)


def main():
    models_dir, dump_dir, *files = sys.argv[1:]
    agrees, compared = True, 0
    line = "{:<30} {:>11} {:>6} {:>9} {:>8} {:>9} {:>9}  {}"
    for name in [name for name in FACE_LIMITS if pathlib.Path(models_dir, FILES[name]).exists()]:
        faces = Faces(name, models_dir)
        report = json.loads(pathlib.Path(dump_dir, f"{name}.json").read_text())
        decoder = []
        print(f"\n{name}: the worker compared with numpy, same pixels")
        print(line.format("file", "pixels", "worker", "reference", "IoU >=", "points <=", "scores <=", ""))
        for file in files:
            base = pathlib.Path(file).name
            entry = report[base]
            size = (entry["height"], entry["width"], 3)
            pixels = np.fromfile(pathlib.Path(dump_dir, f"{base}.rgb"), np.uint8).reshape(size)
            ours, reference = worker_rows(entry["detections"]), faces.detect(pixels, shrink)
            lowest, points, score, alone = differences(ours, reference)
            good = alone == 0 and lowest >= MIN_IOU and points <= MAX_PIXELS and score <= MAX_SCORE
            agrees, compared = agrees and good, compared + len(ours)
            shape = f"{entry['width']}x{entry['height']}"
            numbers = (f"{lowest:.4f}", f"{points:.3f}", f"{score:.5f}", "" if good else "DIFFERS")
            print(line.format(base, shape, len(ours), len(reference), *numbers))
            decoder.append((base, pixels, ours, file))
        print(f"\n{name}: the effect of the decoder (Pillow's pixels in numpy; for information)")
        print(line.format("file", "max / mean", "worker", "reference", "IoU >=", "points <=", "scores <=", ""))
        for base, pixels, ours, file in decoder:
            other = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
            if other.shape != pixels.shape:
                print(f"{base:<30} Pillow sees {other.shape} instead of {pixels.shape}")
                agrees = False
                continue
            apart = np.abs(other.astype(np.int16) - pixels)
            reference = faces.detect(other, shrink)
            lowest, points, score, alone = differences(ours, reference)
            numbers = (f"{lowest:.4f}", f"{points:.3f}", f"{score:.5f}", f"{alone} without partner" if alone else "")
            print(line.format(base, f"{apart.max()} / {apart.mean():.2f}", len(ours), len(reference), *numbers))
    if compared == 0:
        sys.exit("nothing was compared: no model in the folder, or no face in the images")
    print(f"\n{compared} faces compared: {'all agree' if agrees else 'SOME DIFFER'}")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
