"""Compares the words of the engine with what was said, and with whisper.cpp in Python on the same windows.

Usage: compare.py MODEL_FILE DUMP_DIR SETS  where DUMP_DIR was written by the example `windows`, and SETS is a JSON file:
[{"name", "limit": word errors in percent, "recordings": {"name of the recording": "what is said"}}].

Exits 1 where a set has more word errors than its limit, a text is doubtful, or more than one word in 200 differs from Python's. Both are whisper.cpp, but
builds with other instructions, so the last bits of a probability may decide between two words.
"""

import json
import pathlib
import re
import sys

import numpy as np
from pywhispercpp.model import Model

# Both spellings are right.
SAME = {"mr": "mister", "mrs": "missus", "everything": "every thing", "10": "ten", "1": "one", "2": "two", "3": "three", "4": "four"}
MOST_DIFFERENT = 1 / 200


def words(text):
    bare = re.sub(r"[^\w\s]", "", text.lower().replace("-", " ")).split()
    return " ".join(SAME.get(word, word) for word in bare).split()


def errors(said, written):
    """The least number of words that are replaced, left out or added."""
    row = list(range(len(written) + 1))
    for index, word in enumerate(said, 1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(written, 1):
            diagonal, row[column] = row[column], min(diagonal + (word != other), row[column] + 1, row[column - 1] + 1)
    return row[-1]


def python_words(model, dump, name, windows):
    heard = []
    for number in range(windows):
        samples = np.fromfile(dump / f"{name}-{number}.f32", np.float32)
        segments = model.transcribe(samples, language="en")
        heard += words(" ".join(segment.text for segment in segments))
    return heard


def main():
    model_file, dump, sets = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(pathlib.Path(sys.argv[3]).read_text())
    settings = {"n_threads": 1, "print_progress": False, "greedy": {"best_of": 1}}
    contexts = {"use_gpu": False, "flash_attn": False}
    model = Model(model_file, redirect_whispercpp_logs_to=None, context_params=contexts, **settings)
    right, line = True, "{:<28} {:>6} {:>8} {:>8} {:>9}  {}"
    print(pathlib.Path(model_file).name)
    print(line.format("recordings", "words", "errors", "limit", "Python's", "other words than Python"))
    for entry in sets:
        total = wrong = python_wrong = different = 0
        for name, said in entry["recordings"].items():
            windows = json.loads((dump / f"{name}.json").read_text())
            said, ours = words(said), words(" ".join(window["text"] for window in windows))
            theirs = python_words(model, dump, name, len(windows))
            total += len(said)
            wrong += errors(said, ours)
            python_wrong += errors(said, theirs)
            different += errors(theirs, ours)
            doubtful = [window["flag"] for window in windows if window["flag"]]
            if doubtful:
                right = False
                print(f"{name}: doubtful: {', '.join(doubtful)}")
        percent = 100 * wrong / total
        print(line.format(entry["name"], total, f"{percent:.1f} %", f"{entry['limit']} %", f"{100 * python_wrong / total:.1f} %", different))
        right = right and percent <= entry["limit"] and different <= max(1, MOST_DIFFERENT * total)
    sys.exit(0 if right else 1)


main()
