"""Kubernetes objects as Python values: what the other programs of this folder share."""

from pathlib import Path

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path):
    """The objects of a YAML file."""
    return [item for item in yaml.load_all(Path(path).read_text(), Loader) if item]


def name(item):
    return f"{item['kind']}/{item['metadata']['name']}"


def containers(item):
    """The containers of a workload; of another object, none."""
    return item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
