# Sourced by the libraries of the checks: waiting for a command. The caller defines `fail MESSAGE`, which ends it.
# shellcheck shell=bash

# within SECONDS COMMAND…: repeats the command until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  shift
  until ("$@") >/dev/null 2>&1; do
    # Runs once more to show its message.
    [ "$SECONDS" -lt "$deadline" ] || { "$@" || fail "still failing: $*"; return 0; }
    sleep 0.1
  done
}
