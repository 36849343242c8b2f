"""Checks what the chart repeats from elsewhere: topics, partitions, consumer groups, default detectors, the version.

Usage: facts.py RENDERED     the objects of the chart with scalers

Prints what differs and exits 1.
"""

import re
import sys
from pathlib import Path

import yaml

from objects import load

ROOT = Path(__file__).resolve().parent.parent.parent


def text(path):
    return (ROOT / path).read_text()


def first(pattern, path):
    found = re.search(pattern, text(path), re.M | re.S)
    return found.group(1) if found else f"nothing like {pattern} in {path}"


def main():
    chart = yaml.safe_load(text("docker/kubernetes/chart/Chart.yaml"))
    values = yaml.safe_load(text("docker/kubernetes/chart/values.yaml"))
    topics = {topic["role"]: topic for topic in yaml.safe_load(text("topics.yaml"))["topics"]}
    version = first(r'^\[workspace\.package\]\nversion = "(.*?)"', "Cargo.toml")
    detectors = first(r'env = "SIGHTLINE_DETECTORS", default_value = "(.*?)"', "crates/contracts/src/args.rs")
    worker_group = first(r'format!\("(sightline\.detector-worker\.)\{\}"', "crates/contracts/src/groups.rs")
    indexer_group = first(r'INDEXER: &str = "(.*?)"', "crates/contracts/src/groups.rs")
    triggers = {
        item["metadata"]["name"]: item["spec"]["triggers"][0]["metadata"]
        for item in load(sys.argv[1])
        if item["kind"] == "ScaledObject"
    }
    worker, indexer = (triggers.get(f"sightline-{name}", {}) for name in ("detector-worker", "indexer"))
    same = [
        ("the chart's version", chart["version"], version),
        ("the chart's appVersion", str(chart["appVersion"]), version),
        ("detectors", ",".join(values["detectors"]), detectors),
        ("detectorWorker.autoscaling.max", values["detectorWorker"]["autoscaling"]["max"], topics["frames"]["partitions"]),
        ("indexer.autoscaling.max", values["indexer"]["autoscaling"]["max"], topics["results"]["partitions"]),
        ("the topic that scales workers", worker.get("topic"), topics["frames"]["name"]),
        ("the topic that scales indexers", indexer.get("topic"), topics["results"]["name"]),
        ("the group that scales workers", worker.get("consumerGroup"), worker_group + detectors),
        ("the group that scales indexers", indexer.get("consumerGroup"), indexer_group),
    ]
    for role in ("frames", "results"):
        same.append((f"kafka.{role}.topic", values["kafka"][role]["topic"], topics[role]["name"]))
        same.append((f"kafka.{role}.partitions", values["kafka"][role]["partitions"], topics[role]["partitions"]))
    wrong = [f"{what}: {found!r}, but the programs have {wanted!r}" for what, found, wanted in same if found != wanted]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main())
