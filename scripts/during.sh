# Sourced by checks that start long commands of their own: a command ends when the script does, also when the script is killed.
# shellcheck shell=bash

running=

# during COMMAND…
during() {
  setpriv --pdeathsig TERM "$@" &
  running=$!
  wait "$running"
  running=
}

# Called by the trap at the end.
end_running() { [ -z "$running" ] || { kill "$running" 2>/dev/null && wait "$running"; } || true; }
