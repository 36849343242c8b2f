#!/usr/bin/env bash
# As in the public image: the server runs as redis, who owns the data.
set -euo pipefail
if [ "$1" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    chown -R redis .
    exec gosu redis "$0" "$@"
  fi
  set -- "$@" --protected-mode no
fi
exec "$@"
