"""Writes what follows from the chart: the plain manifests in docker/kubernetes, and the list of settings in the chart's schema.

Usage: manifests.py write|check HELM

In: the chart, docker/kubernetes/values, and the names of all settings in crates/settings/src/known.txt. `check` writes nothing;
it prints the files that differ and exits 1.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docker/kubernetes"
CHART = FOLDER / "chart"
SCHEMA = CHART / "values.schema.json"
KNOWN = (ROOT / "crates/settings/src/known.txt").read_text().split()

JOBS = {"migrate", "topics"}

# Lines of a rendered object that only helm needs.
HELM_LINES = re.compile(r"^ *(app\.kubernetes\.io/managed-by: Helm|helm\.sh/.*|# Source: .*)\n", re.M)
EMPTY_ANNOTATIONS = re.compile(r"^  annotations:\n(?=\S)", re.M)
SET_IN_TEMPLATE = re.compile(r'(?:name|variable)"?:? "?SIGHTLINE_(\w+)')
HEAD = "# Written by scripts/kubernetes-manifests from the chart.\n"

# Settings that the values cannot set: those of other commands than the six services, secrets, and the operator's port, which must stay on
# the pod's loopback interface.
NOT_IN_VALUES = {
    "ADMIN_ADDR", "BUS_DISK_LIMIT", "BUS_SYNC", "DATA_DIR", "MEDIA_S3_ACCESS_KEY_ID", "MEDIA_S3_SECRET_ACCESS_KEY", "SERVER", "TOKEN",
}


def render(helm, *values):
    """The objects of the chart, as a list of YAML texts."""
    files = [argument for name in values for argument in ("--values", FOLDER / f"values/{name}.yaml")]
    command = [helm, "template", "sightline", CHART, "--namespace", "sightline", *files]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [part.strip("\n") + "\n" for part in re.split(r"^---\n", text, flags=re.M) if part.strip()]


def plain(text):
    """An object without what only helm needs."""
    return EMPTY_ANNOTATIONS.sub("", HELM_LINES.sub("", text))


def kind(text):
    return re.search(r"^kind: (\w+)$", text, re.M).group(1)


def component(text):
    return re.search(r"^    app\.kubernetes\.io/component: ([\w-]+)$", text, re.M).group(1)


def kustomization(comment, names):
    resources = "".join(f"  - {name}.yaml\n" for name in names)
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: sightline\n"
    return f"{HEAD}# {comment}\n{head}resources:\n{resources}"


def manifests(helm):
    """Path and text of every generated manifest."""
    files = {}
    for text in render(helm, "base"):
        folder = "jobs" if component(text) in JOBS else "base"
        path = f"{folder}/{component(text)}.yaml"
        files[path] = f"{files[path]}---\n{plain(text)}" if path in files else HEAD + plain(text)
    for folder, comment in (("base", "The services."), ("jobs", "What runs before an installation and before each upgrade.")):
        names = sorted(Path(path).stem for path in files if path.startswith(folder))
        files[f"{folder}/kustomization.yaml"] = kustomization(comment, names)
    scalers = [text for text in render(helm, "base", "autoscaling") if kind(text) in ("HorizontalPodAutoscaler", "ScaledObject")]
    files["overlays/autoscaling/scalers.yaml"] = HEAD + "---\n".join(map(plain, scalers))
    camera = [text for text in render(helm, "base", "cameras") if component(text) == "camera"]
    files["overlays/cameras/camera.yaml"] = HEAD + "---\n".join(map(plain, camera))
    return {FOLDER / path: text for path, text in files.items()}


def schema_with_settings():
    """The schema of the values, with the settings that the values may set: all that the templates do not set."""
    templates = "".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    set_by_chart = {name for found in SET_IN_TEMPLATE.findall(templates) for name in (found, found.removesuffix("_FILE"))}
    free = [name for name in KNOWN if name.removeprefix("SIGHTLINE_") not in set_by_chart | NOT_IN_VALUES]
    schema = json.loads(SCHEMA.read_text())
    schema["$defs"]["settings"]["properties"] = {name: {"type": "string"} for name in free}
    return {SCHEMA: json.dumps(schema, indent=2) + "\n"}


def main():
    action, helm = sys.argv[1:]
    files = manifests(helm) | schema_with_settings()
    stale = {path for folder in ("base", "jobs") for path in (FOLDER / folder).glob("*.yaml")} - set(files)
    different = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if action == "write":
        for path in stale:
            path.unlink()
        for path in different:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        return 0
    for path in sorted({*stale, *different}):
        print(f"{path.relative_to(ROOT)} does not follow from the chart: run scripts/kubernetes-manifests")
    return 1 if stale or different else 0


if __name__ == "__main__":
    sys.exit(main())
