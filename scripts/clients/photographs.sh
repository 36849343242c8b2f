#!/usr/bin/env bash
# Users are verified by photographs (docs/FACES.md). Each of two Kafka clients, kafka-python and Apache's for Java, sends the messages of a
# kiosk that writes into the shared folder; curl registers the users, sends photographs by HTTP and asks who is verified. Both clients read
# the outcomes: they must be those that are expected here, and no other.
#
#   scripts/clients/photographs.sh SERVER BROKERS UPLOADS FACES
#
# UPLOADS is the server's folder of uploads. FACES has obama_a.jpg and others of the samples.
set -euo pipefail
part=photographs
here=$(realpath "$(dirname "$0")")
source "$here/../lib.sh"
source "$here/../servers-install.sh"
source "$here/lib.sh"
server=$1 brokers=$2 uploads=$3 faces=$4
verified=sightline.faces.verified letters=sightline.faces.uploads.dlq

# start_client NAME COMMAND...: a Kafka client in the background. It sends what is written to $work/NAME.send, and writes what it reads to
# $work/NAME.json.
clients=() processes=()
start_client() {
  local name=$1 pipe
  shift
  touch "$work/$name.json"
  mkfifo "$work/$name.send"
  # Kept open for writing, so that the client sees no end between two messages.
  exec {pipe}<>"$work/$name.send"
  "$@" "$brokers" sightline.faces.uploads "$verified" "$letters" <&"$pipe" >"$work/$name.json" 2>"$work/$name.log" &
  clients+=("$name") processes+=($!)
}

end() {
  [ $? = 0 ] || [ ${#clients[@]} = 0 ] || (cd "$work" && tail -n 20 -- *.log >&2)
  [ ${#processes[@]} = 0 ] || kill -TERM "${processes[@]}" 2>/dev/null || true
  cleanup
}
trap end EXIT

# Sends the lines of standard input, for the user of this name, with the client of this round.
send() { awk -v key="$1" '{print key "\t" $0}' >"$work/$client.send"; }

# message USER PATH: a line for `send`.
message() { jq --null-input --compact-output --arg user "$1" --arg path "$2" '{username: $user, path: $path}'; }

# write FACE PATH: writes a file of FACES into the folder of uploads.
write() { cp "$faces/$1" "$uploads/$2"; }

# expect USER PATH OUTCOME: one more event.
expect() { printf '%s %s %s\n' "$@" >>"$work/expected"; }

# outcomes CLIENT: the events that this client has read, in the form of `expect`. An event that is sent again has the same id.
outcomes() {
  jq --raw-output --slurp --arg topic "$verified" 'map(select(.topic == $topic)) | unique_by(.headers.ce_id)[]
    | .key + " " + (.value | fromjson | "\(.path) \(.outcome)")' "$work/$1.json"
}

# Both clients have read the expected events, and no other.
agree() {
  local reader
  for reader in "${clients[@]}"; do
    diff <(sort "$work/expected") <(outcomes "$reader" | sort) || fail "$reader has read other outcomes (>) than expected (<)"
  done
}

register() {
  local password='lamp ostrich kettle'
  request 201 --json "{\"email\": \"$1@example.org\", \"username\": \"$1\", \"password\": \"$password\"}" "$server/v1/users"
  request 200 --data grant_type=password --data "username=$1" --data-urlencode "password=$password" "$server/v1/token"
  field access_token >"$work/$1.token"
  is_verified "$1" false
}

# as USER ARGUMENT...: the arguments of `request` for a request of this user.
as() { request "$2" --header "Authorization: Bearer $(cat "$work/$1.token")" "${@:3}"; }

# is_verified USER true|false
is_verified() {
  as "$1" 200 "$server/v1/users/me"
  check ".verified == $2"
}

# no_file PATH...: none of these is in the folder of uploads.
no_file() {
  local path
  for path in "$@"; do
    if [ -e "$uploads/$path" ] || [ -L "$uploads/$path" ]; then fail "$path is still there"; fi
  done
}

# post USER FACE: sends a photograph by HTTP; its path is in $path.
post() {
  as "$1" 202 --data-binary "@$faces/$2" "$server/v1/users/me/photo"
  path=$(field path)
}

# The outcome is published before the file is deleted, so the file may be there for a moment.
first_photographs() {
  write obama_a.jpg "$client/1.jpg"
  { message "$ann" "$client/1.jpg"; message "$ann" "$client/1.jpg"; } | send "$ann"
  expect "$ann" "$client/1.jpg" enrolled
  within 60 agree
  is_verified "$ann" true
  within 5 no_file "$client/1.jpg"
  ok "$client: the first photograph in the folder verifies its user, sent twice it has one outcome, and its file is deleted"

  post "$ben" biden_a.jpg
  expect "$ben" "$path" enrolled
  within 30 agree
  is_verified "$ben" true
  within 5 no_file "$path"
  ok "$client: the first photograph by HTTP verifies its user, and its file is deleted"
}

# The copies are sent before the message after them and have its key. So they are read before it, and an outcome of theirs would be there.
later_photographs() {
  write obama_c.jpg "$client/2.jpg"
  { message "$ann" "$client/1.jpg"; message "$ann" "$client/1.jpg"; message "$ann" "$client/2.jpg"; } | send "$ann"
  expect "$ann" "$client/2.jpg" matched
  within 30 agree
  as "$ann" 200 "$server/v1/faces/subjects"
  check '[.items[].faces] == [1]'
  ok "$client: a copy after the file is deleted changes nothing; another photograph of the person is matched"

  write biden_b.jpg "$client/3.jpg"
  message "$ben" "$uploads/$client/3.jpg" | send "$ben"
  expect "$ben" "$uploads/$client/3.jpg" matched
  post "$ann" obama_b.jpg
  expect "$ann" "$path" matched
  within 30 agree
  within 5 no_file "$client/2.jpg" "$client/3.jpg" "$path"
  ok "$client: either way is matched with the other one, also by an absolute path"

  write biden_b.jpg "$client/4.jpg"
  message "$ann" "$client/4.jpg" | send "$ann"
  expect "$ann" "$client/4.jpg" another_person
  post "$ben" obama_b.jpg
  expect "$ben" "$path" another_person
  within 30 agree
  within 5 no_file "$client/4.jpg" "$path"
  is_verified "$ann" true
  is_verified "$ben" true
  ok "$client: another person is refused both ways, the file is deleted, and the users stay verified"
}

refused_photographs() {
  local secret=$uploads-secret-$client user path outcome
  cp "$faces/obama_a.jpg" "$secret"
  ln -s "$secret" "$uploads/$client/link"
  mkdir "$uploads/$client/folder"
  write obama_biden_2faces.jpg "$client/two.jpg"
  write obama_a.jpg "$client/nobody.jpg"
  while read -r user path outcome; do
    message "$user" "$path"
    expect "$user" "$path" "$outcome"
  done >"$work/messages" <<REFUSED
$eve ../$(basename "$secret") path_outside
$eve $secret path_outside
$eve $client/link path_is_link
$eve $client/missing.jpg file_missing
$eve $client/folder not_a_file
$eve $client/two.jpg several_faces
nobody-$client $client/nobody.jpg unknown_user
REFUSED
  { cat "$work/messages"; echo "no JSON of $client"; } | send "$eve"
  within 30 agree
  is_verified "$eve" false
  within 5 no_file "$client/link" "$client/two.jpg" "$client/nobody.jpg"
  cmp --silent "$faces/obama_a.jpg" "$secret" || fail "the file outside of the folder was changed"
  ok "$client: paths that lead outside, a link, a missing file, a folder, two faces and an unknown user are refused by name"
}

# dead_letter CLIENT: it has read the one dead letter of this round.
dead_letter() {
  jq --exit-status --slurp --arg topic "$letters" --arg key "$eve" --arg value "no JSON of $client" '
    map(select(.topic == $topic and .key == $key) | [.value, .headers.ce_type, .headers.ce_cause, .headers.ce_origintopic])
    == [[$value, "sightline.dead-letter.v1", "undecodable", "sightline.faces.uploads"]]' "$work/$1.json"
}

# described CLIENT USER: each event of this user that the client has read is as docs/FACES.md says.
described() {
  as "$2" 200 "$server/v1/users/me"
  jq --exit-status --slurp --arg topic "$verified" --arg user "$2" --arg id "$(field id)" '
    map(select(.topic == $topic and .key == $user)) | length > 0 and all(.[];
      (.headers | [.ce_specversion, .ce_type, .ce_subject, .["content-type"]])
        == ["1.0", "sightline.face-verified.v1", $id, "application/json"]
      and (.value | fromjson | .username == $user and .user_id == $id and .verified == (.outcome | IN("enrolled", "matched")))
    )' "$work/$1.json" >/dev/null || fail "events of $2 are not as described: $(grep --fixed-strings "$2" "$work/$1.json")"
}

touch "$work/expected"
start_client python env PYTHONPATH="$(kafka_python)" python3 "$here/kafka_client.py"
# For a program of seconds: less work of the compiler.
start_client java java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$(kafka_jars | paste -sd:)" "$here/KafkaClient.java"

for client in "${clients[@]}"; do
  ann=ann-$client ben=ben-$client eve=eve-$client
  mkdir "$uploads/$client"
  for user in "$ann" "$ben" "$eve"; do register "$user"; done
  first_photographs
  later_photographs
  refused_photographs
  for reader in "${clients[@]}"; do
    within 10 dead_letter "$reader"
    for user in "$ann" "$ben" "$eve"; do described "$reader" "$user"; done
  done
  ok "$client: both clients have read the outcomes as CloudEvents, and what is no JSON as a dead letter"
done
left=$(find "$uploads" ! -type d)
[ -z "$left" ] || fail "files are left: $left"
