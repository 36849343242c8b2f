"""Compares the worker's aligned faces and embeddings with those of `embeddings.py` on the same pixels and landmarks.

Usage: compare_embeddings.py MODELS_DIR DUMP_DIR  where DUMP_DIR was written by the example `dump_embeddings`.

Every aligned crop must agree to one level on average, every embedding to a cosine of 0.9999, and every figure of a face's quality to that
of `face_quality.py`. Then, if the photographs of known people are among the files, all of one person must be closer to each other than to
anybody else. Exits 1 otherwise.
"""

import itertools
import json
import pathlib
import sys

import numpy as np

from embeddings import NETWORKS, Embeddings
from face_quality import FIGURES, measure

MAX_LEVELS, MIN_COSINE = 1.0, 0.9999
# In the order of FIGURES: pixels, sharpness, degrees, luma.
MAX_DIFFERENCES = np.array([0.01, 0.01, 0.1, 0.1, 0.1, 0.002, 0.002])
# People on the photographs with one face; the file name before the `_` is the person.
PEOPLE = ("obama", "biden", "astronaut")


def compare(name, models_dir, dump_dir):
    reference = Embeddings(name, models_dir)
    report = json.loads((dump_dir / f"{name}.json").read_text())
    levels, cosines, figures, agrees = [], [], [], True
    for file, entry in report.items():
        size = (entry["height"], entry["width"], 3)
        pixels = np.fromfile(dump_dir / f"{file}.rgb", np.uint8).reshape(size)
        for face in entry["faces"]:
            landmarks = np.array([(point["x"], point["y"]) for point in face["landmarks"]])
            crop = reference.align(pixels, landmarks)
            ours = np.fromfile(dump_dir / face["crop"], np.float32).reshape(3, reference.side, reference.side).transpose(1, 2, 0)
            ours = ours[..., ::-1] if reference.is_bgr else ours
            levels.append(np.abs(ours - crop).mean())
            cosines.append(float(np.dot(reference.embed(crop), face["embedding"])))
            if levels[-1] > MAX_LEVELS or cosines[-1] < MIN_COSINE:
                print(f"DIFFERS: {file}: {levels[-1]:.3f} levels, cosine {cosines[-1]:.6f}")
                agrees = False
            figures.append(quality_differences(pixels, face, landmarks))
            if not (figures[-1] <= MAX_DIFFERENCES).all():
                print(f"DIFFERS: {file}: quality {face['quality']} by {figures[-1]}")
                agrees = False
    if not cosines:
        sys.exit(f"{name}: no face was compared")
    print(f"{name}: {len(cosines)} faces: levels <= {max(levels):.4f}, cosines >= {min(cosines):.7f}")
    print(f"{name}: quality: {', '.join(f'{one} <= {most:.4f}' for one, most in zip(FIGURES, np.max(figures, 0)))}")
    return agrees and people_are_apart(name, report)


def quality_differences(pixels, face, landmarks):
    """How much each figure differs; infinite if only one of both can measure the face."""
    box = face["box"]
    corners = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    ours, reference = face["quality"], measure(pixels, corners, landmarks)
    if ours is None or reference is None:
        return np.full(len(FIGURES), 0.0 if ours is None and reference is None else np.inf)
    return np.abs(np.array([ours[figure] for figure in FIGURES]) - reference)


def people_are_apart(name, report):
    alone = [(file.split("_")[0], entry["faces"][0]) for file, entry in report.items() if len(entry["faces"]) == 1]
    known = [(person, np.array(face["embedding"])) for person, face in alone if person in PEOPLE]
    pairs = [(one == other, float(first @ second)) for (one, first), (other, second) in itertools.combinations(known, 2)]
    same, different = [[value for is_same, value in pairs if is_same == wanted] for wanted in (True, False)]
    if not same or not different:
        return True
    print(f"{name}: same person >= {min(same):.3f} ({len(same)} pairs), different people <= {max(different):.3f} ({len(different)} pairs)")
    return min(same) > max(different)


def main():
    models_dir, dump_dir = sys.argv[1], pathlib.Path(sys.argv[2])
    names = [name for name in NETWORKS if (dump_dir / f"{name}.json").exists()]
    if not names:
        print("skipped: embeddings: SIGHTLINE_MODELS_DIR has no model for them")
        return
    agree = [compare(name, models_dir, dump_dir) for name in names]
    sys.exit(0 if all(agree) else 1)


main()
