"""Shows that the policies in docker/kubernetes/policy accept the manifests, and that each one refuses a manifest that breaks it.

Usage: policies.py write OUT MANIFEST…     one file for conftest from each manifest, one more for each policy with one thing broken,
                                           and the names of all settings for the policies
       policies.py judge OUT RESULT        reads conftest's JSON; prints what it should not have said, and exits 1
"""

import copy
import json
import re
import sys
from pathlib import Path

from objects import containers, load

ROOT = Path(__file__).resolve().parent.parent.parent
POLICY = re.compile(r'^deny contains sprintf\("([a-z-]+): ', re.M)


def find(items, kind, end):
    return next(item for item in items if item["kind"] == kind and item["metadata"]["name"].endswith(end))


def pod(items, kind="Deployment", end="ingest-api"):
    return find(items, kind, end)["spec"]["template"]["spec"]


def container(items, *which):
    return pod(items, *which)["containers"][0]


def environment(items, *which):
    return container(items, *which)["env"]


def change(items, name, value, *which):
    next(variable for variable in environment(items, *which) if variable["name"] == name)["value"] = value


def with_credential(items, key, *which):
    """Gives a pod the database's address of another key of the Secret."""
    change(items, "SIGHTLINE_DATABASE_URL_FILE", f"/run/secrets/sightline/{key}", *which)
    secrets = next(volume for volume in pod(items, *which)["volumes"] if volume["name"] == "secrets")
    secrets["secret"]["items"].append({"key": key, "path": key})


def without(items, kind, end):
    items.remove(find(items, kind, end))


# Policy, and ways to break it: each changes the objects of an installation.
BROKEN = {
    "image-version": [
        lambda items: container(items).update(image="sightline"),
        lambda items: container(items).update(image="registry.example.org:5000/sightline"),
        lambda items: container(items).update(image="sightline:latest"),
    ],
    "probes": [
        lambda items: container(items).pop("startupProbe"),
        lambda items: container(items)["livenessProbe"]["httpGet"].update(path="/readyz"),
        lambda items: container(items)["readinessProbe"]["httpGet"].update(port="http"),
    ],
    "resources": [
        lambda items: container(items)["resources"]["requests"].pop("cpu"),
        lambda items: container(items, "Job", "migrate")["resources"].pop("limits"),
    ],
    "worker-cores": [lambda items: container(items, "StatefulSet", "worker")["resources"]["limits"].pop("cpu")],
    "service-links": [
        lambda items: pod(items).pop("enableServiceLinks"),
        lambda items: pod(items, "Job", "topics").update(enableServiceLinks=True),
    ],
    "api-token": [lambda items: pod(items).pop("automountServiceAccountToken")],
    "read-only": [lambda items: container(items)["securityContext"].pop("readOnlyRootFilesystem")],
    "admin-port": [
        lambda items: environment(items).append({"name": "SIGHTLINE_ADMIN_ADDR", "value": "0.0.0.0:9600"}),
        lambda items: container(items)["ports"].append({"name": "admin", "containerPort": 9600}),
        lambda items: find(items, "NetworkPolicy", "indexer")["spec"]["ingress"][0]["ports"].append({"port": 9600}),
    ],
    "database-role": [
        lambda items: with_credential(items, "database-url", "Deployment", "faces"),
        lambda items: with_credential(items, "database-url", "Deployment", "alert-stream"),
        lambda items: with_credential(items, "faces-database-url", "Deployment", "alert-stream"),
    ],
    "secret-in-environment": [
        lambda items: environment(items).append({"name": "SIGHTLINE_DATABASE_URL", "value": "postgres://user:password@host/"})
    ],
    "unknown-setting": [
        lambda items: environment(items).append({"name": "SIGHTLINE_RETENTON", "value": "3d"}),
        lambda items: environment(items, "Job", "topics").append({"name": "SIGHTLINE_PORT", "value": "tcp://10.0.0.1:80"}),
    ],
    "repeated-setting": [lambda items: environment(items).append({"name": "SIGHTLINE_LOG_FORMAT", "value": "text"})],
    "stop-time": [
        lambda items: pod(items).update(terminationGracePeriodSeconds=30),
        lambda items: pod(items).pop("terminationGracePeriodSeconds"),
        lambda items: change(items, "SIGHTLINE_STOP_GRACE_SECONDS", "60"),
        lambda items: change(items, "SIGHTLINE_STOP_DELAY_SECONDS", "10"),
    ],
    "stop-delay": [lambda items: change(items, "SIGHTLINE_STOP_DELAY_SECONDS", "0")],
    "unmounted-secret": [
        lambda items: environment(items).append(
            {"name": "SIGHTLINE_SMTP_URL_FILE", "value": "/run/secrets/sightline/missing"}
        )
    ],
    "scaler-owns-replicas": [
        lambda items: find(items, "Deployment", "ingest-api")["spec"].update(replicas=2),
        lambda items: find(items, "StatefulSet", "indexer")["spec"].update(replicas=2),
    ],
    "scaler-target": [
        lambda items: find(items, "ScaledObject", "worker")["spec"]["scaleTargetRef"].update(kind="Deployment"),
        lambda items: find(items, "HorizontalPodAutoscaler", "ingest-api")["spec"]["scaleTargetRef"].update(name="ingest"),
    ],
    "disruption-budget": [
        lambda items: without(items, "PodDisruptionBudget", "ingest-api"),
        lambda items: find(items, "PodDisruptionBudget", "indexer")["spec"]["selector"].update(matchLabels={}),
    ],
    "network-policy": [lambda items: without(items, "NetworkPolicy", "migrate")],
    "service-port": [
        lambda items: find(items, "Service", "ingest-api")["spec"]["ports"][0].update(targetPort="https"),
        lambda items: find(items, "Service", "ingest-api")["spec"]["selector"].update({"app.kubernetes.io/component": "api"}),
    ],
}


def write(out, manifests):
    """The last manifest, which has everything, is the one that is broken."""
    for manifest in manifests:
        items = load(manifest)
        if not any(containers(item) for item in items):
            sys.exit(f"{manifest} has no workload")
        (out / f"good-{Path(manifest).stem}.json").write_text(json.dumps({"items": items}))
    for policy, ways in BROKEN.items():
        for number, breaks in enumerate(ways, 1):
            broken = copy.deepcopy(items)
            breaks(broken)
            (out / f"bad-{policy}-{number}.json").write_text(json.dumps({"items": broken}))
    known = (ROOT / "crates/settings/src/known.txt").read_text().split()
    (out / "data").mkdir()
    (out / "data/settings.json").write_text(json.dumps({"settings": known}))


def complaints(out, results):
    found = {Path(result["filename"]).stem: [fault["msg"] for fault in result.get("failures") or []] for result in results}
    seen = {path.stem for path in out.glob("*.json")}
    yield from (f"conftest did not read {name}" for name in seen - found.keys())
    for name, messages in sorted(found.items()):
        wanted = name.removeprefix("bad-").rpartition("-")[0] if name.startswith("bad-") else None
        said = {message.partition(":")[0] for message in messages}
        if wanted is None:
            yield from (f"{name}: {message}" for message in messages)
        elif said != {wanted}:
            yield f"{name}: the policy {wanted} should refuse it, and no other; it was refused by {sorted(said) or 'none'}"
    policies = {name for file in (ROOT / "docker/kubernetes/policy").glob("*.rego") for name in POLICY.findall(file.read_text())}
    for policy in policies ^ BROKEN.keys():
        yield f"the policy {policy} is not both in docker/kubernetes/policy and in BROKEN of this program"


def main():
    action, out, *rest = sys.argv[1:]
    if action == "write":
        return write(Path(out), rest)
    found = list(complaints(Path(out), json.loads(Path(rest[0]).read_text())))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
