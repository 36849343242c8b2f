# Part of scripts/compose/run.sh, after production: crashes, a scaled service, a stop and a start, a password that was changed.
# shellcheck shell=bash

[ "${address:-}" = https://localhost ] || fail "the part faults needs the part production before it"
watched=$work/watched
"$sightline" watch --server "$address" --cacert "$work/ca.pem" --token "$token" >"$watched" 2>"$watched.log" &
watching=$!
# All frames that a push was answered for.
accepted=$work/accepted
: >"$accepted"
before=$(frames)

# accept KEY: a frame of this part.
accept() {
  push "$1"
  jq --raw-output .frame_id "$work/frame.json" >>"$accepted"
}
are_counted() { [ "$(frames)" = $((before + $(wc -l <"$accepted"))) ]; }
alerts_of_accepted() { jq --raw-output .frame_id "$watched" | sort | uniq | comm -12 - <(sort "$accepted") | wc -l; }
are_watched() { [ "$(alerts_of_accepted)" = "$(wc -l <"$accepted")" ]; }

# As a crash is: the process is killed from outside. `docker compose kill` is a person's wish, and Docker keeps it stopped.
killed=(detector-worker indexer alert-stream ingest-api faces shop-api nginx redis postgres mongodb broker)
for service in "${killed[@]}"; do
  accept "before-$service"
  started=$(state_of "$service" .State.StartedAt)
  began=$(date +%s%N)
  kill -KILL "$(state_of "$service" .State.Pid)"
  accept "after-$service"
  within 60 is_restarted "$service" "$started"
  within 90 are_counted
  took=$((($(date +%s%N) - began) / 1000000))
  ok "$service was killed; the next frame was counted after $took ms"
done
# Not before the next one is killed: a system that is still coming back is the harder case.
for service in "${killed[@]}"; do within 60 is_healthy "$service"; done
within 60 are_watched
[ "$(jq --raw-output .id "$watched" | sort | uniq --repeated | wc -l)" = 0 ] || fail "an alert came twice: $(cat "$watched")"
ok "$(wc -l <"$accepted") frames were accepted, counted, and alerted once each"

# Redis counts for all instances; without it each counts for itself.
compose stop redis
is_degraded() { [ "$(call /readyz | jq --raw-output '.status, (.checks.redis | startswith("degraded"))' | paste -sd' ')" = 'degraded true' ]; }
within 20 is_degraded
accept without-redis
compose start redis
within 20 is_healthy redis
ok "without Redis the service is ready, says that it is degraded, and accepts frames"

compose up --detach --wait --scale detector-worker=3 --no-recreate
[ "$(docker compose ps --quiet detector-worker | wc -l)" = 3 ] || fail "not three workers"
for number in $(seq 12); do accept "scaled-$number"; done
within 30 are_counted
ok "three workers share the frames and their state"

docker compose exec -T broker kafka-topics --bootstrap-server broker:9092 --list >"$work/topics" 2>"$work/topics.error" \
  || fail "the list of topics: $(cat "$work/topics.error")"
for topic in sightline.frames sightline.results sightline.alerts sightline.replies sightline.frames.dlq sightline.results.dlq \
  sightline.faces.uploads sightline.faces.verified sightline.faces.uploads.dlq; do
  grep --quiet --line-regexp "$topic" "$work/topics" || fail "no topic $topic: $(cat "$work/topics")"
done
ok "the topics are there"

users=$(call /v1/users | jq --compact-output '[.items[].username]')
stats=$(faces)
kill "$watching"
compose down
left=$(docker volume ls --quiet | grep -v '^sightline_' | paste -sd' ' || true)
[ -z "$left" ] || fail "down leaves volumes without a name: $left"
began=$SECONDS
compose up --detach --wait
ok "down and up took $((SECONDS - began)) s; no volume is left behind"
[ "$(call /v1/users | jq --compact-output '[.items[].username]')" = "$users" ] || fail "other users"
[ "$(faces)" = "$stats" ] || fail "other counts: $(faces) instead of $stats"
are_counted || fail "other frames: $(frames)"
frame=$(head -n 1 "$accepted")
call "/v1/frames/$frame/image" --fail --output "$work/image" || fail "no image of $frame"
cmp --silent "$work/image" "$photo" || fail "the image of $frame is another one"
accept after-up
within 30 are_counted
ok "users, frames, images and counts are kept"

# Passwords that are changed only in their files: the volumes were made with the other ones.
compose down
cp -r "$SECRETS_DIR" "$work/secrets.before"
rm -f "$SECRETS_DIR"/{postgres_password,database_url,mongodb_password,mongodb_uri}
"$root/scripts/compose-secrets" "$SECRETS_DIR"
refused 'mongodb-init.*exit' docker compose up --detach
logged mongodb-init "error: MongoDB's volume was made with another password than the secret mongodb_password"
cp -f "$work/secrets.before"/mongodb_{password,uri} "$SECRETS_DIR"
refused 'migrate.*exit' docker compose up --detach
logged migrate 'password authentication failed for user .*sightline'
[ -z "$(docker compose ps --quiet --status running ingest-api indexer alert-stream faces shop-api)" ] || fail "services run"
ok "a password that fits no volume is named"
compose down --volumes
[ -z "$(docker volume ls --quiet)" ] || fail "down --volumes leaves: $(docker volume ls)"
