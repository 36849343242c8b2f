# Part of scripts/compose/run.sh: bad input stops the start with one clear line, before the services run.
# shellcheck shell=bash

use "$docker/compose.yaml"
running() { docker ps --format '{{.Names}}' | paste -sd' '; }
nothing_runs() { [ -z "$(running)" ] || fail "these containers run: $(running)"; }

rm -rf "$SECRETS_DIR"
refused "$SECRETS_DIR/" docker compose up --detach
nothing_runs
compose down --volumes --timeout 2
ok "without secrets nothing starts, and the message names the file"

"$root/scripts/compose-secrets" "$SECRETS_DIR"
: >"$SECRETS_DIR/redis_url"
refused 'preflight.* exit' docker compose up --detach
logged preflight 'error: the secret redis_url is empty: scripts/compose-secrets FOLDER creates it, where FOLDER is that of SECRETS_DIR'
nothing_runs
compose down --volumes --timeout 2
"$root/scripts/compose-secrets" "$SECRETS_DIR"
ok "with an empty secret nothing starts, and preflight names it"

LEAST_FREE_MB=999999999 refused 'preflight.* exit' docker compose up --detach
logged preflight 'LEAST_FREE_MB=999999999 are wanted'
nothing_runs
compose down --volumes --timeout 2
ok "with too little space nothing starts"

sed 's/ avx / /' /proc/cpuinfo >"$work/cpuinfo"
cat >"$work/no-avx.yaml" <<YAML
services:
  preflight:
    volumes: ["$work/cpuinfo:/proc/cpuinfo:ro"]
YAML
use "$docker/compose.yaml" "$work/no-avx.yaml"
refused 'preflight.* exit' docker compose up --detach
logged preflight 'error: this processor has no AVX, which MongoDB needs'
nothing_runs
compose down --volumes --timeout 2
use "$docker/compose.yaml"
ok "without AVX nothing starts"

LEAST_FREE_MB=2GB PUBLIC_URL=sightline.test refused 'preflight.* exit' docker compose up --detach
logged preflight 'LEAST_FREE_MB=2GB must be a number'
logged preflight 'PUBLIC_URL=sightline.test must begin with https://'
nothing_runs
compose down --volumes --timeout 2
ok "with wrong settings nothing starts, and preflight names each"

use "$docker/compose.yaml" "$docker/compose.tls.yaml"
mkdir -p "$TLS_DIR"
refused 'certs.* exit' docker compose up --detach
logged certs 'server.pem.*No such file'
"$sightline" certs dev --out "$TLS_DIR" --host localhost >/dev/null
"$sightline" certs dev --out "$work/other" --host localhost >/dev/null
cp "$work/other/server.key" "$TLS_DIR"
refused 'certs.* exit' docker compose up --detach
logged certs 'key values mismatch'
nothing_runs
compose down --volumes --timeout 2
use "$docker/compose.yaml"
ok "without a certificate and its key nothing starts, and nginx's own check names the cause"

SIGHTLINE_IMAGE=sightline:none refused 'sightline:none' docker compose up --detach
nothing_runs
compose down --volumes --timeout 2
ok "an image that is not there is not looked for in a registry"
