"""The form that crates/gallery reads (calibration.json), from what scripts/face-calibration.py measured.

    face_calibration_table.py < MEASURED > TABLE

MEASURED has `data` and, for each model, its name, dimensions and unrounded points.
"""

import json
import math
import sys

# Digits of thresholds and shares.
DIGITS = 3


def rounded_up(threshold):
    """A threshold that is rounded down would let more strangers through than were measured."""
    return math.ceil(round(threshold * 10**DIGITS, 6)) / 10**DIGITS


def rounded_down(share):
    return math.floor(round(share * 10**DIGITS, 6)) / 10**DIGITS


def is_whole(points):
    """Whether a model with these points can be in the table."""
    return len(points) >= 2


def table(data, models):
    """`models` as name, dimensions and points (rate, threshold, share of the same person found). One with fewer than two points is left out."""
    form = []
    for name, dimensions, points in models:
        points = [{"rate": rate, "threshold": rounded_up(threshold), "found": rounded_down(found)} for rate, threshold, found in points]
        if is_whole(points):
            form.append({"model": name, "dimensions": dimensions, "points": points})
    return json.dumps({"data": data, "models": form}, indent=2) + "\n"


if __name__ == "__main__":
    measured = json.load(sys.stdin)
    sys.stdout.write(table(measured["data"], measured["models"]))
