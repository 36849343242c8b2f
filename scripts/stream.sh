# Sourced by the libraries of the checks, after within.sh: a stream of alerts in the background. The caller defines
# $work, a folder of its own.
# shellcheck shell=bash

# The process that reads the stream, for the caller to end.
# shellcheck disable=SC2034
stream=

# open_stream VERSION URL TOKEN OPTION…: writes the events to $work/stream, with further options of curl. Returns after the first
# event. The response must be an event stream in this version of HTTP.
open_stream() {
  local version=$1 url=$2 token=$3 line
  shift 3
  # Created before curl starts, because it is read immediately.
  : >"$work/stream"
  curl --silent --no-buffer --include --header "Authorization: Bearer $token" "$@" "$url" >"$work/stream" &
  stream=$!
  within 10 grep --quiet '^id: ' "$work/stream"
  for line in "^HTTP/$version 200" '^content-type: text/event-stream'; do
    grep --quiet "$line" "$work/stream" || fail "$url is not an event stream: $(cat "$work/stream")"
  done
}
