#!/bin/sh
# Runs nginx, and makes it load certificates that have changed.
set -eu
nginx -t -q
nginx -g 'daemon off;' &
server=$!
trap 'kill -QUIT "$server"; wait "$server"; exit' QUIT TERM INT

certificates() { cksum /etc/nginx/tls/server.pem /etc/nginx/tls/server.key 2>/dev/null || true; }

loaded=$(certificates)
while kill -0 "$server" 2>/dev/null; do
  sleep 5 &
  wait $! || true
  found=$(certificates)
  [ "$found" != "$loaded" ] || continue
  # While only one of the two files is new, they do not fit together: the next look finds both.
  if nginx -t -q; then
    nginx -s reload
    loaded=$found
    echo "new certificates are in use"
  fi
done
wait "$server"
