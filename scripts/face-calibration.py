"""Accuracy and thresholds of the embedding models on pairs of photographs. See scripts/face-calibration.

    face-calibration.py DUMP_EMBEDDINGS MODELS_DIR PAIRS IMAGES WORK [JSON]
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from face_calibration_table import is_whole, rounded_up, table

dump, models, pairs_file, images, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])
MODELS = {"face_reid_0095": "face_reid_0095.onnx", "mobilefacenet_128d": "mobilefacenet_128d_batch.onnx"}
RATES = (1e-2, 1e-3, 1e-4, 1e-5)
FOLDS = 10
# Pairs of strangers above a threshold that a rate must rest on.
FEWEST_PAIRS = 10
FILES_PER_RUN = 500


def read_pairs():
    """Each pair as two images and whether they are of one person."""
    for line in pairs_file.read_text().splitlines():
        match line.split():
            case [name, one, other] if one.isdigit() and other.isdigit():
                yield (name, int(one)), (name, int(other)), True
            case [name, one, second, other] if one.isdigit() and other.isdigit():
                yield (name, int(one)), (second, int(other)), False


def path_of(image):
    name, number = image
    return images / name / f"{name}_{number:04}.jpg"


def centre_face(entry):
    """Of several faces, the one whose box is closest to the middle of the photograph: the others are bystanders."""

    def distance(face):
        box = face["box"]
        return np.hypot(box["x"] + box["width"] / 2 - entry["width"] / 2, box["y"] + box["height"] / 2 - entry["height"] / 2)

    return min(entry["faces"], key=distance, default=None)


def embeddings(model, wanted):
    """The embedding of each image, without those in which no face is found."""
    found = {}
    # The program is given names of files, so those of one run must differ.
    for start in range(0, len(wanted), FILES_PER_RUN):
        group = {f"{index}.jpg": image for index, image in enumerate(wanted[start : start + FILES_PER_RUN])}
        for name, image in group.items():
            os.symlink(path_of(image).resolve(), work / name)
        subprocess.run([dump, models, work, model, *(work / name for name in group)], check=True)
        for name, entry in json.loads((work / f"{model}.json").read_text()).items():
            face = centre_face(entry)
            if face:
                found[group[name]] = np.array(face["embedding"], np.float32)
        for left in work.iterdir():
            left.unlink()
    return found


def accuracy(similarity, same):
    """Balanced accuracy over ten folds; the threshold of each fold is chosen on the others."""

    def balanced(values, is_same, threshold):
        return ((values[is_same] >= threshold).mean() + (values[~is_same] < threshold).mean()) / 2

    fold = np.arange(len(same)) % FOLDS
    scores = []
    for number in range(FOLDS):
        others, held = fold != number, fold == number
        if len({*same[held]}) < 2 or len({*same[others]}) < 2:
            return None
        candidates = np.unique(similarity[others])
        best = max(candidates, key=lambda threshold: balanced(similarity[others], same[others], threshold))
        scores.append(balanced(similarity[held], same[held], best))
    return float(np.mean(scores))


def all_pairs(found):
    """Similarities of all pairs of images: of one person, and of two."""
    keys = list(found)
    vectors = np.stack([found[key] for key in keys])
    _, people = np.unique([name for name, _ in keys], return_inverse=True)
    same, strangers = [], []
    for index in range(len(keys) - 1):
        similarity = vectors[index + 1 :] @ vectors[index]
        is_same = people[index + 1 :] == people[index]
        same.append(similarity[is_same])
        strangers.append(similarity[~is_same])
    return np.concatenate(same), np.sort(np.concatenate(strangers))


def measure(model):
    pairs = list(read_pairs())
    if not pairs:
        sys.exit(f"error: {pairs_file} has no pairs")
    there = [pair for pair in pairs if path_of(pair[0]).is_file() and path_of(pair[1]).is_file()]
    wanted = sorted({image for one, other, _ in there for image in (one, other)})
    found = embeddings(model, wanted)
    used = [(found[one] @ found[other], same) for one, other, same in there if one in found and other in found]
    print(f"{model}: {len(pairs)} pairs, images of {len(there)} are there, a face in both of {len(used)}")
    if not used:
        sys.exit("error: no pair can be compared")
    similarity, same = np.array([value for value, _ in used]), np.array([is_same for _, is_same in used])
    score = accuracy(similarity, same)
    print(f"  balanced accuracy over {FOLDS} folds: {'not known, too few pairs' if score is None else f'{score:.2%}'}")
    mates, strangers = all_pairs(found)
    print(f"  all photographs with each other: {len(mates)} pairs of one person, {len(strangers)} of strangers")
    points = []
    for rate in RATES:
        above = int(rate * len(strangers))
        if above < FEWEST_PAIRS:
            print(f"  rate of false matches {rate:.0e}: not known, too few pairs of strangers")
            continue
        # As it is written. The share is what this threshold finds.
        threshold = rounded_up(float(strangers[-above]))
        share = float((mates >= threshold).mean()) if len(mates) else 0.0
        print(f"  rate of false matches {rate:.0e}: threshold {threshold:.3f}, found {share:.1%} (rests on {above} pairs)")
        points.append((rate, threshold, share))
    dimensions = len(next(iter(found.values())))
    return (model, dimensions, points), f"{model}: {len(strangers)} pairs of strangers and {len(mates)} pairs of one person"


def main():
    available = [model for model, file in MODELS.items() if (models / file).is_file()]
    if not available:
        sys.exit(f"error: {models} has no embedding model: run `sightline models pull mobilefacenet_128d`")
    results = [measure(model) for model in available]
    if len(sys.argv) > 6:
        data = "; ".join([pairs_file.name, *(pairs for _, pairs in results)])
        measured = [model for model, _ in results]
        if not any(is_whole(points) for _, _, points in measured):
            sys.exit(f"error: {sys.argv[6]} is not written: a model needs two rates, and none has so many pairs of strangers")
        Path(sys.argv[6]).write_text(table(data, measured))


main()
