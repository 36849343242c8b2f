#!/usr/bin/env bash
# Inside an engine with this machine's network: builds the stand-ins of public images that are missing, and the image sightline:check of
# the programs in a folder.
#
#   scripts/docker-engine online scripts/compose/image.sh FOLDER
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
export DOCKER_BUILDKIT=1

"$root/scripts/docker-engine" make-images
docker build --quiet --tag sightline-programs:check "$1" >/dev/null
docker build --quiet --network host --build-arg PROGRAMS=sightline-programs:check --build-arg VERSION=check \
  --file "$root/docker/Dockerfile" --tag sightline:check "$root" >/dev/null
docker image prune --force >/dev/null
