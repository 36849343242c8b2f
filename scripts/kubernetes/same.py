"""Checks that two files of manifests have the same objects. Prints what differs and exits 1.

Usage: same.py KUSTOMIZE HELM [KIND…]

KUSTOMIZE may have further objects of the given kinds, which the chart expects to exist. What helm adds for itself does not count.
"""

import sys

from objects import load, name

HELM_LABELS = ("app.kubernetes.io/managed-by", "helm.sh/chart")


def plain(value):
    """An object without what helm and kustomize add for themselves."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: plain(item) for key, item in value.items() if key not in HELM_LABELS and not key.startswith("helm.sh/hook")}
    return {key: item for key, item in kept.items() if not (key == "annotations" and item == {})}


def by_name(path, ignored=()):
    objects = {}
    for item in load(path):
        if item["kind"] in ignored:
            continue
        item["metadata"].pop("namespace", None)
        item = plain(item)
        # Kubernetes merges variables by name, and no variable here refers to another: their order means nothing.
        for container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            container["env"].sort(key=lambda variable: variable["name"])
            container["volumeMounts"].sort(key=lambda mount: mount["name"])
            item["spec"]["template"]["spec"]["volumes"].sort(key=lambda volume: volume["name"])
        objects[name(item)] = item
    return objects


def differences(one, other, path=""):
    if type(one) is type(other) is dict:
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{path}/{key}")
    elif type(one) is type(other) is list and len(one) == len(other):
        for number, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{path}/{number}")
    elif one != other:
        yield f"{path}: kustomize has {one!r}, helm has {other!r}"


def main():
    kustomize, helm, *ignored = sys.argv[1:]
    kustomized, rendered = by_name(kustomize, ignored), by_name(helm)
    found = list(differences(kustomized, rendered))
    print(*found, sep="\n", end="\n" if found else "")
    if not rendered:
        print("there is no object to compare")
    return 1 if found or not rendered else 0


sys.exit(main())
