#!/bin/sh
# Makes the passwords and the operator's token in the folder $1; each file that exists is kept. scripts/compose-secrets runs it on
# the machine, compose.dev.yaml in a container.
set -eu
umask 022
cd "$1"

# random BYTES: text that is valid in a URL and in a header.
random() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# make NAME VALUE: the servers run as other users, so their files must be readable for all; the folder is not.
make() {
  [ -s "$1" ] || printf '%s\n' "$2" >"$1"
  chmod 444 "$1"
}

make admin_token "$(random 32)"
make postgres_password "$(random 24)"
make redis_password "$(random 24)"
make mongodb_password "$(random 24)"
# The operator's; no service has it.
make mongodb_root_password "$(random 24)"
# Of the database's roles for services that need less than its owner may: alert-stream, faces, and workers that compare faces
# (compose.faces-live.yaml).
for role in verifier faces worker; do make "${role}_password" "$(random 24)"; done
make grafana_password "$(random 24)"
# The members of a replica set prove by it that they belong together; its characters are those of Base64.
make mongodb_key "$(head -c 96 /dev/urandom | base64 | tr -d '\n')"
make database_url "postgres://sightline:$(cat postgres_password)@postgres:5432/sightline"
for role in verifier faces worker; do
  make "${role}_database_url" "postgres://sightline_$role:$(cat "${role}_password")@postgres:5432/sightline"
done
make redis_url "redis://:$(cat redis_password)@redis:6379"
make mongodb_uri "mongodb://sightline:$(cat mongodb_password)@mongodb:27017/sightline?replicaSet=rs0&authSource=admin"
