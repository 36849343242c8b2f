"""Compares the worker's objects, vehicles and colours with those of `objects.py` on the same ONNX files.

Usage: compare_objects.py MODELS_DIR DUMP_DIR SUBSET FILE...  where DUMP_DIR was written by the worker's example `dump`, and
SUBSET is the folder of annotated COCO images, which may be missing.

Over the very pixels the worker decoded, every box must agree to an IoU of 0.99 and every score to 0.001, and none may be missing
unless its score is that close to the threshold; every vehicle must have the colour of the reference, or none like it.
Over the annotated images, the AP50 of the worker must be within 0.005 of that of the reference, which decodes with Pillow.
Exits 1 where one of them fails, and says what it left out.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps

from faces import iou
from objects import COLOUR_THRESHOLD, COLOURS_FILE, FILES, LIMITS, VEHICLES, Colours, Objects, ap50, vehicles

MIN_IOU, MAX_SCORE, MAX_AP50 = 0.99, 0.001, 0.005

# Threshold for AP50, which counts also improbable boxes.
LOW = 0.01


class Dump:
    """What the worker wrote."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def entries(self, name):
        return json.loads((self.folder / f"{name}.json").read_text())

    def pixels(self, file, entry):
        size = (entry["height"], entry["width"], 3)
        return np.fromfile(self.folder / f"{pathlib.Path(file).name}.rgb", np.uint8).reshape(size)


def corners(detection):
    box = detection["box"]
    return [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]


def worker_rows(detections, classes):
    return [[entry["confidence"], *corners(entry), classes.index(entry["label"])] for entry in detections]


def differences(ours, reference, threshold):
    """The lowest IoU and the largest difference of scores of the best pairs, and the number of boxes without a partner that are not
    so close to the threshold that either side may have them."""
    lowest, score, alone, left = 1.0, 0.0, [], list(reference)
    for row in ours:
        same = [other for other in left if other[5] == row[5]]
        best = max(same, key=lambda other: iou(row[1:5], other[1:5]), default=None)
        if best is None or iou(row[1:5], best[1:5]) < 0.5:
            alone.append(row)
            continue
        left = [other for other in left if other is not best]
        lowest = min(lowest, iou(row[1:5], best[1:5]))
        score = max(score, abs(row[0] - best[0]))
    return lowest, score, sum(abs(row[0] - threshold) > MAX_SCORE for row in [*alone, *left])


def compare_boxes(name, objects, dump, classes, files):
    print(f"\n{name}: the worker compared with numpy, same pixels")
    line = "{:<30} {:>11} {:>6} {:>9} {:>8} {:>9}  {}"
    print(line.format("file", "pixels", "worker", "reference", "IoU >=", "scores <=", ""))
    entries, threshold, agrees, compared = dump.entries(f"objects:{name}"), LIMITS[name][0], True, 0
    for file in files:
        entry = entries[pathlib.Path(file).name]
        ours = worker_rows(entry["detections"], classes)
        reference = objects.detect(dump.pixels(file, entry), threshold)
        lowest, score, alone = differences(ours, reference, threshold)
        good = alone == 0 and lowest >= MIN_IOU and score <= MAX_SCORE
        agrees, compared = agrees and good, compared + len(ours)
        numbers = (f"{lowest:.4f}", f"{score:.5f}", "" if good else "DIFFERS")
        shape = f"{entry['width']}x{entry['height']}"
        print(line.format(pathlib.Path(file).name, shape, len(ours), len(reference), *numbers))
    return agrees, compared


def compare_colours(name, colours, dump, classes, files):
    """The detector `vehicle`: its boxes are those of `objects` with one label for each vehicle, and the colours those of the reference."""
    print(f"\nvehicle with {name}: colours, same pixels")
    objects, of_detector, agrees, compared = dump.entries(f"objects:{name}"), dump.entries(f"vehicle:{name}"), True, 0
    for file in files:
        base = pathlib.Path(file).name
        entry = of_detector[base]
        pixels = dump.pixels(file, entry)
        expected = vehicles(worker_rows(objects[base]["detections"], classes))
        if worker_rows(entry["detections"], classes) != expected:
            print(f"{base}: the boxes differ from those of the detector objects DIFFERS")
            agrees = False
        for found in entry["detections"]:
            colour, score = colours.of(pixels, found["label"], corners(found))
            ours = found.get("attributes", {}).get("colour")
            unsure = score is not None and abs(score - COLOUR_THRESHOLD) <= MAX_SCORE
            good = found["category"] == found["label"] and (ours == colour or unsure)
            agrees, compared = agrees and good, compared + (colour is not None)
            probability = "" if score is None else f"{score:.3f}"
            width = f"{found['box']['width']:.0f} wide"
            mark = "" if good else f"DIFFERS: {ours}"
            print(f"{base:<30} {found['label']:<10} {width:>10} {colour or '-':>7} {probability:>6}  {mark}")
    return agrees, compared


def compare_ap50(name, objects, dump, annotations, subset):
    entries, classes = dump.entries(f"{name}@{LOW}"), annotations["classes"]
    ours, own = {}, {}
    for image in annotations["images"]:
        path = subset / "images" / pathlib.Path(image["file"]).name
        ours[image["file"]] = worker_rows(entries[path.name]["detections"], classes)
        own[image["file"]] = objects.detect(np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")), LOW)
    (worker, of_worker), (reference, of_reference) = ap50(ours, annotations), ap50(own, annotations)
    agrees = abs(worker - reference) <= MAX_AP50
    counts = f"{len(ours)} images, {len(of_worker)} classes"
    mark = "" if agrees else " DIFFERS"
    print(f"\n{name}: AP50 on {counts}: worker {worker:.4f}, reference {reference:.4f}{mark}")
    for label in ("person", *VEHICLES.values()):
        if label in of_worker:
            print(f"    {label:<10} {of_worker[label]:.4f} {of_reference[label]:.4f}")
    return agrees


def main():
    models_dir, dump_dir, subset, *files = sys.argv[1:]
    dump, subset, agrees, boxes, colours = Dump(dump_dir), pathlib.Path(subset), True, 0, 0
    classes = json.loads((pathlib.Path(dump_dir) / "classes.json").read_text())
    names = [name for name, file in FILES.items() if pathlib.Path(models_dir, file).exists()]
    for name in names:
        objects = Objects(name, models_dir)
        good, compared = compare_boxes(name, objects, dump, classes, files)
        agrees, boxes = agrees and good, boxes + compared
        if (subset / "annotations.json").exists():
            agrees &= compare_ap50(name, objects, dump, json.loads((subset / "annotations.json").read_text()), subset)
        else:
            print(f"skipped: AP50 of {name}: there is no folder coco_val2017_subset in SIGHTLINE_SAMPLES_DIR")
    if names and pathlib.Path(models_dir, COLOURS_FILE).exists():
        good, colours = compare_colours(names[0], Colours(models_dir), dump, classes, files)
        agrees &= good
        if colours == 0:
            print("skipped: colours: no image has a vehicle")
    elif names:
        print(f"skipped: colours: SIGHTLINE_MODELS_DIR has no {COLOURS_FILE}")
    if names and boxes == 0:
        sys.exit("nothing was compared: no object in the images")
    print(f"\n{boxes} objects and {colours} colours compared: {'all agree' if agrees else 'SOME DIFFER'}")
    sys.exit(0 if agrees else 1)


if __name__ == "__main__":
    main()
