# Part of scripts/compose/run.sh: production with TLS, on empty volumes.
# shellcheck shell=bash disable=SC2034 # `call` reads address and token.

"$root/scripts/compose-secrets" "$SECRETS_DIR"
"$sightline" certs dev --out "$TLS_DIR" --host localhost >/dev/null
cp "$TLS_DIR/ca.pem" "$work/ca.pem"
token=$(cat "$SECRETS_DIR/admin_token")
address=https://localhost
export PUBLIC_URL=$address
use "$docker/compose.yaml" "$docker/compose.tls.yaml"

began=$SECONDS
compose up --detach --wait
took=$((SECONDS - began))
[ -n "${any_time:-}" ] || [ "$took" -le 25 ] || fail "the first up took $took s; at most 25 are allowed"
ok "the first up took $took s"

logged migrate 'accounts: .*up to date'
ok "migrate finds nothing to do after init.sql"

# A stream of alerts through nginx, and a photograph.
open_stream 2 "$address/v1/alerts" "$token" --cacert "$work/ca.pem"
call '/v1/frames?stream=gate' --header 'Content-Type: image/png' --header 'Prefer: wait=30' --data-binary "@$photo" >"$work/frame.json"
jq --exit-status '[.detections[].label] == ["face"]' "$work/frame.json" >/dev/null || fail "no face: $(cat "$work/frame.json")"
frame=$(jq --raw-output .frame_id "$work/frame.json")
# Buffered, it would come with the end of the stream only.
within 5 grep --quiet "$frame" "$work/stream"
kill "$stream"
ok "a photograph went in and its alert came out through nginx, over HTTP/2"

# problem STATUS CODE: the last response must be this problem.
problem() {
  grep --quiet --ignore-case "^content-type: application/problem+json" "$work/head" || fail "no problem+json: $(cat "$work/head")"
  jq --exit-status ".status == $1 and .code == \"$2\"" "$work/body" >/dev/null || fail "another problem: $(cat "$work/body")"
}
for megabytes in 8500 12000; do
  head -c "${megabytes}000" /dev/zero >"$work/large"
  status=$(call /v1/frames --header 'Content-Type: image/png' --data-binary "@$work/large" --dump-header "$work/head" \
    --output "$work/body" --write-out '%{http_code}')
  [ "$status" = 413 ] || fail "$megabytes KB: status $status"
  problem 413 too_large
done
ok "uploads that are too large get 413 as problem+json, from the service and from nginx"

call /v1/users --include --output "$work/head"
grep --quiet --ignore-case '^strict-transport-security: max-age=31536000' "$work/head" || fail "no HSTS: $(cat "$work/head")"
! grep --ignore-case '^server: nginx/' "$work/head" || fail "nginx tells its version"
[ "$(curl --silent --output /dev/null --write-out '%{http_code} %{redirect_url}' http://localhost/v1/frames)" = '308 https://localhost/v1/frames' ] \
  || fail "HTTP is not sent on to HTTPS"
call /v1/users --json '{"username": "ann", "email": "ann@example.org", "password": "lamp ostrich kettle"}' \
  --header 'X-Forwarded-For: 6.6.6.6' --header 'Forwarded: for=6.6.6.6' >"$work/user.json"
jq --exit-status .id "$work/user.json" >/dev/null || fail "not registered: $(cat "$work/user.json")"
call /v1/token --header 'X-Forwarded-For: 6.6.6.6' --data grant_type=password --data username=ann \
  --data-urlencode 'password=lamp ostrich kettle' >"$work/token.json"
call /v1/audit >"$work/audit.json"
jq --exit-status '.items | length > 0' "$work/audit.json" >/dev/null || fail "the audit log is empty"
! grep --quiet 6.6.6.6 "$work/audit.json" || fail "a forged address was believed: $(cat "$work/audit.json")"
issuer=$(jq --raw-output '.access_token | split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | @base64d | fromjson | .iss' "$work/token.json")
[ "$issuer" = "$PUBLIC_URL" ] || fail "the issuer of a token is $issuer, not $PUBLIC_URL"
ok "forged addresses are not believed; tokens have the public address"

serial() { openssl s_client -connect localhost:443 -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -serial; }
before=$(serial)
"$sightline" certs dev --out "$TLS_DIR" --host localhost >/dev/null
has_changed() { [ "$(serial)" != "$before" ]; }
within 20 has_changed
ok "new certificates are in use without a restart"

compose up --detach --wait --force-recreate --no-deps ingest-api
is_served() { [ "$(call /v1/frames --output /dev/null --write-out '%{http_code}')" = 200 ]; }
within 10 is_served
ok "nginx finds an ingest-api that was made anew"

# opens_root [STATEMENT]: prints for the operator's secret and for that of the services whether it opens root; then runs a statement of
# the shell. Each start of the shell takes seconds.
opens_root() {
  docker compose exec -T mongodb mongosh --quiet --nodb --eval "
    const passwords = ['$(cat "$SECRETS_DIR/mongodb_root_password")', '$(cat "$SECRETS_DIR/mongodb_password")'];
    const databases = [];
    for (const password of passwords) {
      const admin = new Mongo('mongodb://127.0.0.1:27017/?directConnection=true').getDB('admin');
      try { admin.auth('root', password); databases.push(admin); print('yes'); } catch (error) { print(error.codeName); }
    }
    ${1:-}" 2>&1 | paste -sd' '
}
# As in an older volume.
found=$(opens_root "databases[0].changeUserPassword('root', passwords[1])")
[[ $found = yes\ AuthenticationFailed* ]] || fail "the passwords of root and of the services open root: $found"
compose up --no-deps mongodb-init
found=$(opens_root)
[ "$found" = 'yes AuthenticationFailed' ] || fail "with an older volume, the passwords of root and of the services open root: $found"
ok "MongoDB's root has a password of its own, also in an older volume"

# Networks: the databases reach nothing outside of theirs, and the worker does not reach them.
networks() { docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$(container_of "$1")"; }
[ "$(networks postgres)$(networks redis)$(networks mongodb)" = 'sightline_data sightline_data sightline_data ' ] || fail "a database is in another network"
[ "$(networks detector-worker)" = 'sightline_bus ' ] || fail "the worker is in more than the network of Kafka"
reply=$(docker compose exec -T redis redis-cli dbsize 2>&1 || true)
[[ $reply = *NOAUTH* ]] || fail "Redis answers without a password: $reply"
reply=$(docker compose exec -T mongodb mongosh --quiet --eval 'db.getSiblingDB("sightline").stats().ok' 2>&1 || true)
[[ $reply = *requires\ authentication* || $reply = *not\ authorized* ]] || fail "MongoDB answers without a password: $reply"
reply=$(docker compose exec -T --env PGPASSWORD=wrong postgres psql --host postgres --username sightline --command 'select 1' 2>&1 || true)
[[ $reply = *password\ authentication\ failed* ]] || fail "PostgreSQL answers without its password: $reply"
ok "the databases are alone in their network, and want passwords"

# Another program's port: the message names it. When it is free, the same command goes on.
compose stop nginx
python3 -m http.server --bind 0.0.0.0 443 >/dev/null 2>&1 &
other=$!
within 10 curl --silent --output /dev/null http://127.0.0.1:443
refused '443.*in use' docker compose up --detach
kill "$other"
wait "$other" || true
compose up --detach --wait
ok "a port in use is named"
