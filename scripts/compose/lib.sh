# Sourced by scripts/compose/run.sh: a compose project, requests to it, and waiting.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/../within.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../stream.sh"

# The names of all settings, also of those that are comments.
settings_of_compose() { sed --quiet --regexp-extended 's/^#?([A-Z_]+)=.*/\1/p' "$root/.env.example"; }

work=$(mktemp -d)
# default_settings: those of a new project. No setting of the caller, or of a part before, reaches compose or our programs, and no .env of
# the checkout. files.sh checks that .env.example has every name of the compose files.
default_settings() {
  local name
  for name in COMPOSE_PROJECT_NAME COMPOSE_FILE $(settings_of_compose) "${!SIGHTLINE_@}"; do
    case $name in SIGHTLINE_CACHE | SIGHTLINE_MODELS_DIR | SIGHTLINE_ORT_DYLIB_PATH | SIGHTLINE_SAMPLES_DIR) ;; *) unset "$name" ;; esac
  done
  export SIGHTLINE_IMAGE=sightline:check SIGHTLINE_CAMERA_IMAGE=sightline-camera:check
  export COMPOSE_DISABLE_ENV_FILE=1 SECRETS_DIR=$work/secrets TLS_DIR=$work/certs
}
default_settings
export docker=$root/docker
# Of the project that runs, for `call`.
export address='' token=''

ok() { say "ok   $*"; }
fail() { say "FAIL $*"; exit 1; }

# Called by the trap at the end.
show_failure() {
  local status=$?
  if [ "$status" != 0 ] && [ -n "${COMPOSE_FILE:-}" ]; then
    docker compose ps --all >&2 || true
    docker compose logs --no-color --tail 15 >&2 || true
  fi
  rm -rf "$work"
}

# use FILE…: the compose files of the following commands.
use() { COMPOSE_FILE=$(IFS=:; echo "$*"); export COMPOSE_FILE; }

# compose ARGUMENT…: without its progress; its output is shown if it fails.
compose() {
  docker compose "$@" >"$work/compose.log" 2>&1 || { cat "$work/compose.log" >&2; fail "docker compose $*"; }
}

# refused TEXT COMMAND…: the command must fail and say this.
refused() {
  local text=$1
  shift
  ! "$@" >"$work/refused.log" 2>&1 || fail "it succeeded: $*"
  grep --quiet -- "$text" "$work/refused.log" || { cat "$work/refused.log" >&2; fail "no line has: $text"; }
}

# logged SERVICE PATTERN: the log of a service must have a line like this. The log is read to its end, because a pipe that is closed
# early fails.
logged() {
  docker compose logs --no-log-prefix "$1" >"$work/service.log" 2>&1
  grep --quiet -- "$2" "$work/service.log" || { cat "$work/service.log" >&2; fail "the log of $1 does not have: $2"; }
}

container_of() { docker compose ps --quiet "$1" | head -n 1; }
state_of() { docker inspect --format "{{$2}}" "$(container_of "$1")"; }
is_healthy() { [ "$(state_of "$1" .State.Health.Status)" = healthy ]; }
is_restarted() { [ "$(state_of "$1" .State.StartedAt)" != "$2" ]; }

# call ARGUMENT…: curl as the operator, at $address.
call() {
  local path=$1
  shift
  curl --silent --show-error --max-time 60 --cacert "$work/ca.pem" --header "Authorization: Bearer $token" "$address$path" "$@"
}

# push KEY: sends the photograph until it is accepted. The same key is the same frame.
push() {
  local status deadline=$((SECONDS + 120))
  while true; do
    status=$(call '/v1/frames?stream=gate' --header 'Content-Type: image/png' --header "Idempotency-Key: $1" \
      --data-binary "@$photo" --output "$work/frame.json" --write-out '%{http_code}' 2>"$work/frame.error") || status=000
    case $status in 200 | 202) return 0 ;; esac
    [ "$SECONDS" -lt "$deadline" ] || fail "the frame $1 was not accepted: $status $(cat "$work/frame.json" "$work/frame.error")"
    sleep 0.2
  done
}

frames() { call '/v1/frames?limit=100' | jq '.items | length'; }
faces() { call '/v1/stats?group_by=label' | jq --compact-output .; }
