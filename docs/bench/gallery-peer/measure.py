"""hnswlib on the vectors of scripts/gallery-bench, in turns with Sightline's search.

Usage: measure.py PROGRAM FILE ROUNDS

PROGRAM is the example `gallery_search`, which wrote FILE. hnswlib's index gets the parameters that its documentation names for face
descriptors at high recall (M 48). `ef` is raised until 999 of 1,000 of the ten nearest vectors are found. Then both
search in turns on one thread, and the medians of the CPU time for a query are compared. hnswlib gets all queries in one call
and searches vectors; Sightline gets one query at a time and searches subjects, of which each has several vectors.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import hnswlib
import numpy as np

K = 10
RECALL = 0.999
M = 48
EF_CONSTRUCTION = 200


def load(file):
    data = Path(file).read_bytes()
    count, dimensions, queries, _ = np.frombuffer(data, "<u4", 4)
    numbers = np.frombuffer(data, "<f4", offset=16).reshape(-1, dimensions)
    return numbers[:count], numbers[count : count + queries]


def truth(vectors, queries):
    products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return np.argpartition(-products, K, axis=1)[:, :K]


def recall(found, wanted):
    return np.mean([len(set(f) & set(w)) / K for f, w in zip(found, wanted, strict=True)])


def build(vectors):
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
    began = time.process_time()
    index.add_items(vectors)
    print(f"hnswlib: index of {len(vectors)} vectors built in {time.process_time() - began:.0f} s CPU")
    return index


def search(index, queries):
    began = time.process_time()
    found, _ = index.knn_query(queries, k=K, num_threads=1)
    return found, (time.process_time() - began) * 1e3 / len(queries)


def equal_recall(index, queries, wanted):
    """Raises ef until the recall is reached."""
    ef = 100
    while True:
        index.set_ef(ef)
        found, cpu = search(index, queries)
        reached = recall(found, wanted)
        print(f"hnswlib: ef {ef}: recall@{K} {reached:.4f}, {cpu:.3f} ms CPU a query", flush=True)
        if reached >= RECALL:
            return
        if ef >= 20_000:
            sys.exit(f"hnswlib does not reach a recall of {RECALL}")
        ef = int(ef * 1.5)


def main():
    program, file, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    vectors, queries = load(file)
    index = build(vectors)
    equal_recall(index, queries, truth(vectors, queries))
    own, peer = [], []
    for _ in range(rounds):
        own.append(json.loads(subprocess.run([program, "round", file], check=True, capture_output=True).stdout)["cpu_ms"])
        peer.append(search(index, queries)[1])
    ours, theirs = statistics.median(own), statistics.median(peer)
    print(f"CPU for a query, medians of {rounds} rounds in turns: Sightline {ours:.3f} ms ({min(own):.3f} to {max(own):.3f}), ", end="")
    print(f"hnswlib {theirs:.3f} ms ({min(peer):.3f} to {max(peer):.3f})")
    print(f"queries per CPU-second: {theirs / ours:.2f} x hnswlib's at equal recall")


main()
