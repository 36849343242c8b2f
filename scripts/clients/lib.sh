# Sourced by the parts of scripts/public-clients that use curl.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/../within.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../stream.sh"

work=$(mktemp -d)
# Called by the trap at every kind of exit.
cleanup() {
  [ -z "$stream" ] || kill -TERM "$stream" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ok() { printf 'ok   %s: %s\n' "$part" "$*"; }
fail() { printf 'FAIL %s: %s\n' "$part" "$*" >&2; exit 1; }

# request STATUS ARGUMENT...: curl with these arguments; the response must have this status. It retries after a 429 or 503.
request() {
  local wanted=$1 status
  shift
  status=$(curl --silent --show-error --max-time 30 --retry 5 --retry-max-time 30 --dump-header "$work/head" \
    --output "$work/body" --write-out '%{http_code}' "$@") || fail "curl $*: exit status $?"
  [ "$status" = "$wanted" ] || fail "$status instead of $wanted, $(cat "$work/body"), by: curl $*"
}

# check FILTER OPTION...: checks a jq filter that must be true for the last response.
check() {
  jq --exit-status "${@:2}" "$1" "$work/body" >/dev/null || fail "false: $1 for $(cat "$work/body")"
}

# field NAME: prints a string of the last response.
field() { jq --exit-status --raw-output ".$1 | strings" "$work/body" || fail "there is no $1 in $(cat "$work/body")"; }

# events NAME [FIELD]: prints the data, or another field, of the received events of this name, one per line.
events() {
  tr -d '\r' <"$work/stream" | awk -v RS= -F'\n' -v event="event: $1" -v field="${2:-data}: " '{
    named = 0
    for (line = 1; line <= NF; line++) {
      if ($line == event) named = 1
      if (index($line, field) == 1) value = substr($line, length(field) + 1)
    }
    if (named) print value
  }'
}
