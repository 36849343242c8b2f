# Sourced by scripts/docker-engine: builds the stand-ins of public images, each from a folder here and the server's own files.
# shellcheck shell=bash

# The public names, as docker/compose.yaml has them.
stand_ins() { sed -n 's/.*image: .*:-\(.*\)}.*/\1/p' "$root/docker/compose.yaml" "$root/docker/compose.tls.yaml" | sort -u; }
