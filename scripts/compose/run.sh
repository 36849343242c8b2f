#!/usr/bin/env bash
# Inside an engine without a network: runs the parts of scripts/compose-check.
#
#   scripts/docker-engine run scripts/compose/run.sh SIGHTLINE PART…
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$root/scripts/compose/lib.sh"

export sightline=$1
shift
photo=$(photograph)
trap show_failure EXIT
for part in "$@"; do
  say "=== $part"
  began=$SECONDS
  # shellcheck source=/dev/null
  source "$root/scripts/compose/$part.sh"
  say "=== $part: passed in $((SECONDS - began)) s"
done
echo "compose check: $# parts passed in $SECONDS s: $*"
