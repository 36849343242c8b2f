#!/usr/bin/env bash
# Inside an engine with this machine's network: builds the stand-ins of public images that are missing, the image sightline:check of the
# programs in a folder, and sightline-camera:check of those in FOLDER-camera, if it exists.
#
#   scripts/docker-engine online scripts/compose/image.sh FOLDER
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
export DOCKER_BUILDKIT=1

"$root/scripts/docker-engine" make-images
docker build --quiet --tag sightline-programs:check "$1" >/dev/null
docker build --quiet --network host --build-arg PROGRAMS=sightline-programs:check --build-arg VERSION=check \
  --file "$root/docker/Dockerfile" --tag sightline:check "$root" >/dev/null
if [ -d "$1-camera" ]; then
  docker build --quiet --tag sightline-programs:check-camera "$1-camera" >/dev/null
  docker build --quiet --network host --target camera --build-arg PROGRAMS=sightline-programs:check --build-arg VERSION=check \
    --file "$root/docker/Dockerfile" --tag sightline-camera:check "$root" >/dev/null
fi
docker image prune --force >/dev/null
