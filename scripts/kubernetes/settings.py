"""Writes the environment of every container as a file for `env`, so that the programs can say what they think of it.

Usage: settings.py OUT MANIFEST…

A file that is mounted in the pod is replaced by one in OUT, or by the repository's.
"""

import sys
from pathlib import Path

from objects import containers, load, name

ROOT = Path(__file__).resolve().parent.parent.parent
SECRETS = "/run/secrets/sightline/"
CREDENTIALS = {
    "admin-token": "0123456789abcdef0123456789abcdef0123456789abcdef",
    "database-url": "postgres://sightline:password@postgres.example.org:5432/sightline",
    "verifier-database-url": "postgres://sightline_verifier:password@postgres.example.org:5432/sightline",
    "faces-database-url": "postgres://sightline_faces:password@postgres.example.org:5432/sightline",
    "worker-database-url": "postgres://sightline_worker:password@postgres.example.org:5432/sightline",
    "mongodb-uri": "mongodb://mongodb.example.org:27017/sightline?replicaSet=rs0",
    "redis-url": "redis://redis.example.org:6379",
    "kafka-properties": "security.protocol=SASL_SSL;sasl.mechanism=SCRAM-SHA-512",
    "smtp-url": "smtps://user:password@mail.example.org",
    "oidc-client-secret": "secret",
    "otlp-headers": "authorization=Bearer secret",
    "cameras.yaml": "cameras: [{stream: gate, url: 'rtsp://gate.example.org/live'}]",
    "token": "0123456789abcdef0123456789abcdef",
}
MOUNTED = {
    "/etc/sightline/topics.yaml": ROOT / "topics.yaml",
    "/etc/models/models.yaml": ROOT / "crates/models/models.yaml",
}


def here(value, out):
    """The value with the path of a file that exists on this machine."""
    if value.startswith(SECRETS):
        return str(out / value.removeprefix(SECRETS))
    return str(MOUNTED.get(value, value))


def main():
    out = Path(sys.argv[1])
    out.mkdir()
    for key, text in CREDENTIALS.items():
        (out / key).write_text(text + "\n")
    for manifest in sys.argv[2:]:
        for item in load(manifest):
            for container in containers(item):
                lines = [f"{entry['name']}={here(entry['value'], out)}\n" for entry in container["env"] if "value" in entry]
                file = out / f"{Path(manifest).stem}-{name(item).replace('/', '-')}.env"
                file.write_text("".join(lines))


main()
