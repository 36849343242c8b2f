# Sourced by the parts of scripts/public-clients that use curl.
# shellcheck shell=bash

work=$(mktemp -d)
stream=
# Called by the trap at the end, however it comes.
cleanup() {
  [ -z "$stream" ] || kill -TERM "$stream" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ok() { printf 'ok   %s: %s\n' "$part" "$*"; }
fail() { printf 'FAIL %s: %s\n' "$part" "$*" >&2; exit 1; }

# ask STATUS ARGUMENT...: curl with these arguments; its answer must have the status. Being told to slow down, it does.
ask() {
  local wanted=$1 status
  shift
  status=$(curl --silent --show-error --max-time 30 --retry 5 --retry-max-time 30 --dump-header "$work/head" \
    --output "$work/body" --write-out '%{http_code}' "$@") || fail "curl $*: exit status $?"
  [ "$status" = "$wanted" ] || fail "$status instead of $wanted, $(cat "$work/body"), by: curl $*"
}

# holds FILTER OPTION...: what jq must find true of the last answer.
holds() {
  jq --exit-status "${@:2}" "$1" "$work/body" >/dev/null || fail "not so: $1 of $(cat "$work/body")"
}

# field NAME: a text of the last answer.
field() { jq --exit-status --raw-output ".$1 | strings" "$work/body" || fail "there is no $1 in $(cat "$work/body")"; }

# within SECONDS COMMAND...: repeats it until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until ("$@") >/dev/null 2>&1; do
    # Once more, for what it says.
    [ "$SECONDS" -lt "$deadline" ] || { "$@" || fail "in vain: $*"; return 0; }
    sleep 0.1
  done
}

# open_stream ADDRESS TOKEN: what comes is in $work/stream, until it ends. Returns when it has begun.
open_stream() {
  # In place before curl runs: what waits for it reads it at once.
  : >"$work/stream"
  curl --silent --no-buffer --include --header "Authorization: Bearer $2" "$1" >"$work/stream" &
  stream=$!
  within 10 grep --quiet '^id: ' "$work/stream"
  for line in '^HTTP/1.1 200' '^content-type: text/event-stream'; do
    grep --quiet "$line" "$work/stream" || fail "$1 does not begin like a stream: $(cat "$work/stream")"
  done
}

# events NAME [FIELD]: the data, or another field, of those that came, one a line.
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
