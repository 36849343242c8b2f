# Sourced after lib.sh by scripts that test a running `sightline up`.
#
# Each server runs on a new folder and a free port, without the caller's SIGHTLINE_ settings. Everything is deleted
# at every kind of exit. A failing script prints the end of the server's log.
# shellcheck shell=bash

work=$(mktemp -d)
up_log=
up_pid=
address=
export SIGHTLINE_TEST_SERVERS_STATE=$work/servers

# Called by the trap at the end.
cleanup() {
  local status=$?
  [ "$status" = 0 ] || [ -z "$up_log" ] || { say "--- end of $up_log"; tail -n 40 "$up_log" >&2 || true; }
  if [ -n "$up_pid" ]; then
    kill -TERM "$up_pid" 2>/dev/null || true
    wait "$up_pid" 2>/dev/null || true
  fi
  [ ! -d "$SIGHTLINE_TEST_SERVERS_STATE" ] || "$root/scripts/servers" stop || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# python_venv NAME REQUIREMENTS: prints the path of a virtual environment with these packages, whose hashes are checked.
python_venv() {
  local venv
  venv=$cache/$1-$(sha256sum "$2" | cut -c1-12)
  if [ ! -e "$venv/ready" ]; then
    python3 -m venv --clear "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r "$2" >&2 \
      || die "could not install the Python packages of $2"
    touch "$venv/ready"
  fi
  printf '%s\n' "$venv"
}

# prepare_up: checks that the program exists, unsets the caller's settings, changes to the working folder, so that
# the .env of the checkout is not read, and fetches the model.
prepare_up() {
  local name
  sightline=${SIGHTLINE_PROGRAM:-$root/sightline}
  [ -x "$sightline" ] || die "there is no $sightline: run make build"
  sightline=$(realpath "$sightline")
  for name in "${!SIGHTLINE_@}"; do
    case $name in
      SIGHTLINE_CACHE | SIGHTLINE_MODELS_DIR | SIGHTLINE_ORT_DYLIB_PATH | SIGHTLINE_SAMPLES_DIR | SIGHTLINE_TEST_*) ;;
      *) unset "$name" ;;
    esac
  done
  cd "$work" || die "cannot enter $work"
  "$sightline" models pull
}

# start_up NAME SETTING…: starts a server on the folder $work/NAME; returns when it is ready at $address.
start_up() {
  local deadline=$((SECONDS + 120)) name=$1 grpc=()
  shift
  # Its default port may be taken. An older program does not know the setting, and refuses it.
  [ "$("$sightline" config keys | grep --count --line-regexp SIGHTLINE_GRPC_ADDR)" = 0 ] || grpc=(SIGHTLINE_GRPC_ADDR=off)
  # The first port depends on the process, so that two scripts at once do not choose the same.
  address=127.0.0.1:$(free_port $((23080 + $$ % 500)))
  up_log=$work/$name.log
  env SIGHTLINE_DATA_DIR="$work/$name" SIGHTLINE_HTTP_ADDR="$address" SIGHTLINE_TOKEN_ISSUER="http://$address" \
    SIGHTLINE_ADMIN_ADDR=off "${grpc[@]}" "$@" "$sightline" up >"$up_log" 2>&1 &
  up_pid=$!
  until curl --fail --silent --output /dev/null "http://$address/readyz"; do
    kill -0 "$up_pid" 2>/dev/null || die "sightline up has ended"
    [ "$SECONDS" -lt "$deadline" ] || die "http://$address/readyz is not ready after 120 s"
    sleep 0.2
  done
}

# stop_up: stops the server with SIGTERM. An error or a panic in its log fails the script.
stop_up() {
  ! grep -E ' ERROR |panicked' "$up_log" >&2 || die "the server logged an error"
  kill -TERM "$up_pid"
  wait "$up_pid" || die "sightline up did not stop cleanly: $?"
  up_pid=
}
