"""The figures of a face's quality in numpy, from the formulas of docs/FACES.md, and what they are for photographs and worse copies of them.

Usage: face_quality.py MODELS_DIR FILE...

Prints the figures of every face of every file. For files with one face also those of copies that are smaller, blurred, darker, brighter or
noisy, each with its lowest similarity to the other photographs of the same person (the file name before the `_` is the person), or to
the photograph itself if there is no other. The default limits of `QualityLimits` come from this table.
"""

import pathlib
import sys

import cv2
import numpy as np

from embeddings import ARCFACE, NETWORKS, Embeddings, align
from faces import Faces

SIDE, COLUMNS, ROWS = 64, (15, 50), (20, 60)
LUMA = np.array([0.299, 0.587, 0.114])
LEAST_GRADIENT = 0.5 / 255
# Of the model of a face: height, nose and mouth in units of the distance between the eyes, the nose also as a share of the height.
HEIGHT, NOSE_HEIGHT, NOSE_DEPTH, MOUTH_WIDTH = 1.05, 0.58, 0.45, 0.84
LEAST_QUOTIENT = 0.25
FIGURES = ("size", "sharpness", "yaw", "pitch", "roll", "brightness", "contrast")


def pose(landmarks):
    """Yaw, pitch and roll in degrees, and the quotient of both scales of the face."""
    right_eye, left_eye, nose, right_mouth, left_mouth = landmarks
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    across = ((left_eye - right_eye) + MOUTH_WIDTH * (left_mouth - right_mouth)) / (1 + MOUTH_WIDTH**2)
    down = (mouth - eyes) / HEIGHT
    forward = (nose - eyes - NOSE_HEIGHT * (mouth - eyes)) / NOSE_DEPTH
    roll = np.arctan2(-down[0], down[1])
    upright = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    across, down, forward = upright @ across, upright @ down, upright @ forward
    yaw = np.arctan2(forward[0], across[0])
    lowered = across[1] * np.sin(yaw) - forward[1] * np.cos(yaw)
    scales = np.hypot(across[0], forward[0]), np.hypot(lowered, down[1])
    return np.degrees([yaw, np.arctan2(lowered, down[1]), roll]), min(scales) / max(scales)


def inside_image(shape, landmarks):
    """Which pixels of the crop are wholly in the image."""
    landmarks = np.asarray(landmarks)
    template = np.array(ARCFACE) * SIDE / 112
    # A plane of complex numbers, in which a similarity transform is one product and one sum: another way than `align`.
    source, target = landmarks @ [1, 1j], template @ [1, 1j]
    turn = np.vdot(target - target.mean(), target - target.mean()).real
    turn = 1 / (np.vdot(source - source.mean(), target - target.mean()) / np.vdot(source - source.mean(), source - source.mean()).real)
    row, column = np.mgrid[:SIDE, :SIDE]
    points = turn * (column + 1j * row - target.mean()) + source.mean()
    reach = abs(turn) * np.sqrt(0.5)
    height, width = shape[:2]
    x, y = points.real, points.imag
    return (x >= reach) & (y >= reach) & (x + reach <= width - 1) & (y + reach <= height - 1)


def measure(rgb, box, landmarks):
    """The figures of a face; None if it cannot be measured. `box` is left, top, right, bottom."""
    height, width = rgb.shape[:2]
    angles, quotient = pose(landmarks)
    if (landmarks < 0).any() or (landmarks > (width, height)).any() or not quotient > LEAST_QUOTIENT:
        return None
    template = np.array(ARCFACE) * SIDE / 112
    luma = align(rgb, landmarks, template, SIDE) @ LUMA / 255
    region = np.zeros((SIDE, SIDE), bool)
    region[ROWS[0] : ROWS[1], COLUMNS[0] : COLUMNS[1]] = True
    region &= inside_image(rgb.shape, landmarks)
    if 2 * region.sum() < (ROWS[1] - ROWS[0]) * (COLUMNS[1] - COLUMNS[0]):
        return None
    levels = luma[region]
    here, right, below = region[1:-1, 1:-1], region[1:-1, 2:], region[2:, 1:-1]
    whole = here & right & below & region[1:-1, :-2] & region[:-2, 1:-1]
    across, down = luma[1:-1, 2:] - luma[1:-1, 1:-1], luma[2:, 1:-1] - luma[1:-1, 1:-1]
    curve = luma[1:-1, 2:] + luma[1:-1, :-2] + luma[2:, 1:-1] + luma[:-2, 1:-1] - 4 * luma[1:-1, 1:-1]
    gradient = np.sqrt((across[whole] ** 2 + down[whole] ** 2).mean())
    sharpness = np.sqrt((curve[whole] ** 2).mean()) / gradient if gradient >= LEAST_GRADIENT else 0.0
    size = min(box[2] - box[0], box[3] - box[1])
    return np.array([size, sharpness, *angles, levels.mean(), levels.std()])


def shrink(rgb, size):
    return cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)


def read(path):
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def worse_copies(rgb, side):
    """Names and copies of a photograph whose face has this side."""

    def scaled(pixels):
        return cv2.resize(rgb, None, fx=pixels / side, fy=pixels / side, interpolation=cv2.INTER_AREA)

    def whole(levels):
        return np.clip(levels, 0, 255).round().astype(np.uint8)

    for pixels in (96, 64, 48, 40, 32, 24):
        yield f"{pixels} pixels", scaled(pixels)
    for share in (0.01, 0.02, 0.03, 0.04, 0.05):
        yield f"blur, sigma {share} of the side", cv2.GaussianBlur(rgb, (0, 0), share * side)
    for gain in (0.3, 0.2, 0.15, 0.1, 0.07, 1.5, 2, 3, 4):
        yield f"levels times {gain}", whole(rgb * float(gain))
    noise = np.random.default_rng(1).normal(0, 1, scaled(80).shape)
    yield "80 pixels, noise 10", whole(scaled(80) + 10 * noise)
    yield "80 pixels, levels times 0.12, noise 4", whole(scaled(80) * 0.12 + 4 * noise)


def line(name, figures, similarities=()):
    if figures is None:
        print(f"{name}: cannot be measured")
        return
    numbers = "{:6.0f} {:9.2f} {:5.0f} {:5.0f} {:5.0f} {:10.3f} {:8.3f}".format(*figures)
    print(f"{name:<52} {numbers}  {' '.join(f'{value:.2f}' for value in similarities)}")


def main():
    models_dir, *files = sys.argv[1:]
    cv2.setNumThreads(1)
    faces = Faces("yunet_n", models_dir)
    networks = [Embeddings(name, models_dir) for name, (file, *_) in NETWORKS.items() if pathlib.Path(models_dir, file).exists()]
    print(f"{'':<52} {FIGURES[0]:>6} {FIGURES[1]:>9} {'yaw':>5} {'pitch':>5} {'roll':>5} {FIGURES[5]:>10} {FIGURES[6]:>8}  similarity")
    alone = {}
    for file in files:
        rgb, name = read(file), pathlib.Path(file).stem
        found = faces.detect(rgb, shrink)
        for number, face in enumerate(found):
            line(f"{name} {number}" if len(found) > 1 else name, measure(rgb, face[1:5], face[5:].reshape(5, 2)))
        if len(found) == 1:
            alone[name] = (rgb, found[0])

    def embeddings(rgb, face):
        return [network.embed(network.align(rgb, face[5:].reshape(5, 2))) for network in networks]

    known = {name: embeddings(rgb, face) for name, (rgb, face) in alone.items()}
    for name, (rgb, face) in alone.items():
        person = [other for other in known if other != name and other.split("_")[0] == name.split("_")[0]] or [name]
        for kind, copy in [("unchanged", rgb), *worse_copies(rgb, min(face[3] - face[1], face[4] - face[2]))]:
            found = faces.detect(copy, shrink)
            if len(found) == 0:
                print(f"{name}: {kind}: no face found")
                continue
            ours = embeddings(copy, found[0])
            similarities = [min(float(one @ known[other][index]) for other in person) for index, one in enumerate(ours)]
            line(f"{name}: {kind}", measure(copy, found[0][1:5], found[0][5:].reshape(5, 2)), similarities)


if __name__ == "__main__":
    main()
