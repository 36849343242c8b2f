# Part of scripts/compose/run.sh: the file compose.yaml in the root, as from a fresh clone, and what is used with it.
# shellcheck shell=bash disable=SC2034 # `call` reads address and token.

# Kafdrop's image cannot be had where this check runs, so the list of topics stands for it.
services=(demo ingest-api detector-worker indexer alert-stream faces shop-api)
default_settings
unset SECRETS_DIR
export DETECTIONS_PER_SECOND=20
use "$root/compose.yaml"
[ ! -e "$docker/secrets" ] || say "note: this checkout has docker/secrets, which development does not use"
compose up --detach --wait "${services[@]}"
address=http://127.0.0.1:8000
token=$(docker compose exec -T ingest-api cat /run/secrets/admin_token)
is_ready() { call /readyz | jq --exit-status '.status == "ok"'; }
within 30 is_ready
vehicles() { call '/v1/stats?group_by=make' | jq '[.items[].count] | add // 0'; }
has_vehicles() { [ "$(vehicles)" -ge 20 ]; }
within 30 has_vehicles
ok "without a step before it, the API listens on 8000 and counts the demo's vehicles"
[ "$(curl --silent --header "Authorization: Bearer $token" http://127.0.0.1:8002/v1/faces/subjects | jq --compact-output .items)" = '[]' ] \
  || fail "the routes of faces are not on port 8002"
ok "the routes of faces are on port 8002"

docker exec broker kafka-console-consumer --bootstrap-server broker:9092 --topic sightline.results --from-beginning --max-messages 3 \
  --timeout-ms 20000 >"$work/consumed" 2>"$work/consumed.log" || fail "the console consumer: $(cat "$work/consumed.log")"
[ "$(wc -l <"$work/consumed")" = 3 ] || fail "the console consumer read $(cat "$work/consumed")"
head -n 1 "$work/consumed" | jq --exit-status '[keys[] | ascii_downcase] | contains(["year", "make", "model", "category"])' >/dev/null \
  || fail "no bare vehicle: $(head -n 1 "$work/consumed")"
ok "docker exec broker kafka-console-consumer prints the vehicles"

# From this machine, by the published port.
: >/dev/tcp/127.0.0.1/29092 || fail "Kafka's port 29092 is not published"
! docker volume ls --quiet | grep --invert-match '^sightline-dev_' || fail "development uses the volumes above, which are not its own"

# The reference system's names of topics, in an operator's own topics.yaml; and certificates for trying. It goes on with the same volumes.
sed -e 's/name: sightline.results$/name: intellisite.detections/' -e 's/name: sightline.alerts$/name: intellisite.alerts/' \
  "$root/topics.yaml" >"$work/topics.yaml"
cat >"$work/names.yaml" <<YAML
x-topics: &topics
  environment: { SIGHTLINE_TOPICS_FILE: /topics.yaml }
  configs: [{ source: topics, target: /topics.yaml }]
services:
  topics: *topics
  ingest-api: *topics
  detector-worker: *topics
  indexer: *topics
  alert-stream: *topics
  faces: *topics
  demo: *topics
configs:
  topics: { file: $work/topics.yaml }
YAML
# With workers that compare faces, too.
use "$docker"/compose{,.dev,.tls,.tls.dev,.faces-live,.faces-live.dev}.yaml "$work/names.yaml"
compose up --detach --wait "${services[@]}" nginx
docker compose cp nginx:/etc/nginx/tls/ca.pem "$work/ca.pem" >/dev/null 2>&1 || fail "there is no ca.pem"
address=https://localhost
token=$(docker compose exec -T ingest-api cat /run/secrets/admin_token)
before=$(vehicles)
has_more_vehicles() { [ "$(vehicles)" -ge $((before + 20)) ]; }
within 30 has_more_vehicles
for topic in intellisite.detections intellisite.alerts; do
  docker compose exec -T broker kafka-console-consumer --bootstrap-server broker:9092 --topic "$topic" --from-beginning \
    --max-messages 1 --timeout-ms 20000 >"$work/consumed" 2>"$work/consumed.log" || fail "$topic: $(cat "$work/consumed.log")"
  [ "$(wc -l <"$work/consumed")" = 1 ] || fail "nothing on $topic"
done
ok "the reference system's topics have vehicles and alerts, with TLS of certificates for trying"
reader=$(docker compose exec -T postgres psql --username sightline --tuples-only --no-align --command \
  "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename = 'sightline_worker'")
[ "$reader" = sightline_worker ] || fail "the worker does not read the enrolled faces with its role"
ok "the worker compares faces with the secrets of development"

# PUBLIC_URL is not set here, and a user's token has the issuer of ingest-api: alert-stream must expect the same one.
call /v1/users --json '{"username": "ann", "email": "ann@example.org", "password": "lamp ostrich kettle"}' >"$work/user.json"
call /v1/token --data grant_type=password --data username=ann --data-urlencode 'password=lamp ostrich kettle' >"$work/token.json"
user=$(jq --exit-status --raw-output .access_token "$work/token.json") || fail "no token: $(cat "$work/user.json" "$work/token.json")"
open_stream 2 "$address/v1/alerts" "$user" --cacert "$work/ca.pem"
kill "$stream"
ok "a user reads the alerts with a token that was made without PUBLIC_URL"
compose down --volumes --timeout 2

# The devcontainer: its servers, the folder of the project, the secrets.
use "$docker/compose.yaml" "$docker/compose.dev.yaml" "$root/.devcontainer/compose.yaml"
mapfile -t needed < <(sed '/^ *\/\//d' "$root/.devcontainer/devcontainer.json" | jq --raw-output '.runServices[]' | grep -v kafdrop)
compose up --detach --wait "${needed[@]}"
docker compose exec -T dev bash -euc '
  [ -x scripts/setup ]
  for server in broker/9092 mongodb/27017 postgres/5432 redis/6379; do : >"/dev/tcp/$server"; done
  grep -q ^postgres:// "$SIGHTLINE_DATABASE_URL_FILE"' || fail "the devcontainer does not reach its servers"
mapfile -t files < <(sed '/^ *\/\//d' "$root/.devcontainer/devcontainer.json" | jq --raw-output '.dockerComposeFile[]')
for file in "${files[@]}"; do [ -f "$root/.devcontainer/$file" ] || fail "devcontainer.json names $file, which is not there"; done
ok "the devcontainer opens the project with its servers"
compose down --volumes --timeout 2
