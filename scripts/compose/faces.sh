# Part of scripts/compose/run.sh, after production: faces are enrolled and searched through nginx, for their owner alone; with
# compose.faces-live.yaml, the workers find them in frames.
# shellcheck shell=bash disable=SC2034 # `call` reads token.

[ "${address:-}" = https://localhost ] || fail "the part faces needs the part production before it"
[ "$(networks faces)" = 'sightline_data sightline_edge ' ] || fail "the service of faces is in the networks: $(networks faces)"

# sql ROLE STATEMENT: as a role, by the address that its service has.
sql() { docker compose exec -T postgres psql --tuples-only --no-align "$(cat "$SECRETS_DIR/$1_database_url")" --command "$2" 2>&1 || true; }
# refused_to ROLE STATEMENT: the role must lack the right.
refused_to() {
  local reply
  reply=$(sql "$1" "$2")
  [[ $reply = *permission\ denied* ]] || fail "the role of $1 may $2: $reply"
}

connected=$(docker compose exec -T postgres psql --username sightline --tuples-only --no-align --command \
  "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'sightline' ORDER BY usename" | paste -sd' ')
[ "$connected" = 'sightline sightline_faces sightline_verifier' ] || fail "the services are connected to the database as: $connected"
refused_to faces 'SELECT password_hash FROM users'
refused_to faces 'SELECT private_key FROM signing_keys'
refused_to verifier 'SELECT password_hash FROM users'
refused_to verifier 'SELECT name FROM face_subjects'
ok "alert-stream and faces have database roles of their own, which read no secret"

# The document of each service is where its routes are.
paths() { call "$1" | jq --compact-output '.paths | keys | map(select(startswith("/v1/faces/")))'; }
[ "$(paths /openapi.json)" = '[]' ] || fail "the document of ingest-api has the routes of faces: $(paths /openapi.json)"
[[ $(paths /v1/faces/openapi.json) = *'"/v1/faces/search"'* ]] || fail "there is no document of faces: $(call /v1/faces/openapi.json)"
ok "the routes of faces are described at /v1/faces/openapi.json, through nginx"

# as TOKEN PATH ARGUMENT…: `call` as a user.
as() {
  local token=$1
  shift
  call "$@"
}
sign_in() {
  call /v1/token --data grant_type=password --data "username=$1" --data-urlencode 'password=lamp ostrich kettle' \
    | jq --exit-status --raw-output .access_token
}
# image TOKEN PATH FILE: sends an image of the type $format; the response is $work/face.json, its status is printed.
image() { as "$1" "$2" --header "Content-Type: $format" --data-binary "@$3" --output "$work/face.json" --write-out '%{http_code}'; }
# responds STATUS FILTER [ARGUMENT OF JQ…]: the last response to an image. $status has its status.
responds() {
  local wanted=$1 filter=$2
  shift 2
  if [ "$status" != "$wanted" ] || ! jq --exit-status "$@" "$filter" "$work/face.json" >/dev/null; then
    fail "not $wanted with $filter: $status $(cat "$work/face.json")"
  fi
}

call /v1/users --json '{"username": "ben", "email": "ben@example.org", "password": "lamp ostrich kettle"}' >"$work/user.json"
ann=$(sign_in ann) || fail "ann cannot sign in"
ben=$(sign_in ben) || fail "ben cannot sign in: $(cat "$work/user.json")"
subject=$(as "$ann" /v1/faces/subjects --json '{"name": "A person"}' | jq --exit-status --raw-output .id) || fail "no subject was created"
for user in "$ann" "$ben"; do as "$user" "/v1/faces/subjects/$subject" --output /dev/null --write-out '%{http_code} '; done >"$work/statuses"
[ "$(cat "$work/statuses")" = '200 404 ' ] || fail "the owner of a subject and another user get $(cat "$work/statuses")"
[ "$(as "$ann" /v1/faces/nothing --output /dev/null --write-out '%{http_code}')" = 404 ] || fail "a path that does not exist is not 404"

docker compose exec -T faces sightline models list >"$work/models"
# Two photographs of one person, where there are samples; else one photograph twice.
photographs=("$photo" "$photo" "$photo")
format=image/png
if [ -n "${SIGHTLINE_SAMPLES_DIR:-}" ]; then
  photographs=("$SIGHTLINE_SAMPLES_DIR"/faces/obama_{a,b,c}.jpg)
  format=image/jpeg
fi
status=$(image "$ann" "/v1/faces/subjects/$subject/images" "${photographs[0]}")
if ! grep --quiet '^mobilefacenet_128d .* installed' "$work/models"; then
  responds 503 '.code == "no_face_model"'
  say "note: no source of mobilefacenet_128d can be reached here, so no face was compared"
else
  responds 201 '.id != null'
  status=$(image "$ann" /v1/faces/search "${photographs[1]}")
  responds 200 '[.matches[] | [.subject, .name]] == [[$id, "A person"]]' --arg id "$subject"
  status=$(image "$ben" /v1/faces/search "${photographs[1]}")
  responds 200 '.matches == [] and .subjects == 0'
  ok "a face is enrolled and found through nginx by its owner, and by nobody else"

  # Frames: with a role that reads no name and no account.
  before=$COMPOSE_FILE
  use "$docker/compose.yaml" "$docker/compose.tls.yaml" "$docker/compose.faces-live.yaml"
  compose up --detach --wait detector-worker
  status=$(as "$ann" /v1/frames --header "Content-Type: $format" --header 'Prefer: wait=30' --data-binary "@${photographs[2]}" \
    --output "$work/face.json" --write-out '%{http_code}')
  responds 200 '[.detections[] | [.attributes.subject, .subject_name]] == [[$id, "A person"]]' --arg id "$subject"
  detection=$(jq --raw-output '.detections[0].id' "$work/face.json")
  # The response comes from the worker's result; the detection can be rejected once the indexer has stored it.
  is_stored() { [ "$(as "$ann" "/v1/detections/$detection" --output /dev/null --write-out '%{http_code}')" = 200 ]; }
  within 30 is_stored
  for method in POST DELETE; do
    status=$(as "$ann" "/v1/detections/$detection/reject" --request "$method" --output "$work/face.json" --write-out '%{http_code}')
    responds 200 '.subject == $id and .negative != null' --arg id "$subject"
  done
  ok "a recognised face is rejected through nginx, and that is undone"
  refused_to worker 'SELECT name FROM face_subjects'
  # Again, as each start does it: the role exists, and a changed password takes effect.
  rm "$SECRETS_DIR"/worker_{password,database_url}
  "$root/scripts/compose-secrets" "$SECRETS_DIR"
  compose up --force-recreate --no-deps database-roles
  [ "$(sql worker 'SELECT count(*) FROM face_vectors WHERE false')" = 0 ] || fail "the changed password of the worker's role does not work"
  ok "a worker that compares faces says who it is, and its role reads vectors but no name"
  COMPOSE_FILE=$before
  compose up --detach --wait detector-worker
fi

status=$(as "$ann" "/v1/faces/subjects/$subject" --request DELETE --output "$work/face.json" --write-out '%{http_code}')
if [ -z "${detection:-}" ]; then
  responds 200 '.enrolled == 0'
else
  responds 200 '.enrolled == 1 and .detections == 1 and .images == 1'
  [ "$(as "$ann" "/v1/detections/$detection" | jq --raw-output '.attributes.identity, .attributes.subject')" = $'forgotten\nnull' ] \
    || fail "a deleted person is still on a detection"
fi
