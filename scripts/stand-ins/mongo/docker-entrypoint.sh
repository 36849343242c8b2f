#!/usr/bin/env bash
# As in the public image: the server runs as mongodb, who owns the data.
set -euo pipefail
if [ "$1" = mongod ] && [ "$(id -u)" = 0 ]; then
  chown -R mongodb /data/db /data/configdb
  exec gosu mongodb "$0" "$@"
fi
exec "$@"
