#!/usr/bin/env bash
# The steps of the reference system's README: registration, token and /stats are requested as it writes them, including the
# form's empty fields; only the user and the port differ. Then the streams and lists that it names. The producer is a foreign
# Kafka client, and sends both forms of vehicles.
#
#   scripts/clients/reference.sh SERVER BROKERS TOPIC
set -euo pipefail
part=reference
source "$(dirname "$0")/lib.sh"
server=$1 brokers=$2 topic=$3

produce() { "$(dirname "$0")/../foreign-producer" "$brokers" "$topic" >/dev/null || fail "the foreign producer failed"; }

produce <<'VEHICLES'
{"Year": 2011, "Make": "Toyota", "Model": "Land Cruiser", "Category": "SUV"}
{"Year": 2018, "Make": "Kia", "Model": "Rio", "Category": "Sedan"}
VEHICLES

request 201 -X 'POST' "$server/users" -H 'accept: application/json' -H 'Content-Type: application/json' -d '{
  "username": "ann",
  "password": "123456",
  "email": "ann@example.org",
  "full_name": "Ann Example"
}'
check '.username == "ann" and .disabled == false'
ok "registered with the password 123456"

request 200 -X 'POST' "$server/token" -H 'accept: application/json' -H 'Content-Type: application/x-www-form-urlencoded' \
  -d 'grant_type=&username=ann&password=123456&scope=&client_id=&client_secret='
check '.token_type | ascii_downcase == "bearer"'
token=$(field access_token)
# A plain user, not the operator.
request 200 -X 'GET' "$server/v1/users/me" -H "Authorization: Bearer $token"
check '.role == "user" and .username == "ann"'
ok "a token for its form, with empty fields"

counted() {
  request 200 -X 'GET' "$server/stats" -H 'accept: application/json' -H "Authorization: Bearer $token"
  check '. == $wanted' --argjson wanted "$1"
}
within 30 counted '{"Toyota": 1, "Kia": 1}'
ok "/stats counts the producer's vehicles"

open_stream 1.1 "$server/alerts" "$token"
produce <<'VEHICLES'
{"year": 1999, "make": "Cadillac", "model": "Escalade", "category": "SUV", "created_at": "2022-05-07T04:51:08.381523"}
{"year": 2020, "make": "Kia", "model": "Ceed", "category": "Hatchback", "created_at": "2022-05-07T04:51:09.000001"}
{"Year": 2020, "Make": "Audi", "Model": "Q3", "Category": "SUV"}
VEHICLES
alerted() {
  [ "$(events new_alert | jq --raw-output '"\(.year) \(.make) \(.model) \(.category)"' | sort | paste -sd,)" = "$1" ]
}
within 30 alerted '1999 Cadillac Escalade SUV,2020 Audi Q3 SUV'
within 30 counted '{"Toyota": 1, "Kia": 2, "Cadillac": 1, "Audi": 1}'
# No other vehicle raised an alert in that time.
alerted '1999 Cadillac Escalade SUV,2020 Audi Q3 SUV' || fail "there are other alerts: $(events new_alert)"
ok "/alerts sends each SUV, and no other vehicle"

request 200 -X 'GET' "$server/detections?skip=0&limit=10" -H 'accept: application/json' -H "Authorization: Bearer $token"
check 'length == 5 and ([.[] | select(.make == "Cadillac") | .created_at] == ["2022-05-07T04:51:08.381523Z"])'
ok "/detections lists all five"

for path in /stats /alerts /detections; do request 401 -X 'GET' "$server$path" -H 'accept: application/json'; done
request 401 -X 'POST' "$server/token" -H 'Content-Type: application/x-www-form-urlencoded' \
  -d 'grant_type=&username=ann&password=654321&scope=&client_id=&client_secret='
ok "without the token, or with a wrong password, all of it is refused"
