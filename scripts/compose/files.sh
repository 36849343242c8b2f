# Part of scripts/compose/run.sh: every combination of files is valid and keeps the rules of docs/DEPLOY.md.
# shellcheck shell=bash

"$root/scripts/compose-secrets" "$SECRETS_DIR"
mkdir -p "$TLS_DIR"
# Of compose.shop-demo.yaml; nothing is started here.
export MAIL_SINK=$work/sink

# broken_rules FILE…: the rules that a combination breaks, one a line.
broken_rules() {
  use "$@"
  SIGHTLINE_IMAGE='' SIGHTLINE_CAMERA_IMAGE='' docker compose config --format json >"$work/config.json" \
    || fail "docker compose config of $COMPOSE_FILE"
  jq --raw-output --from-file "$root/scripts/compose/rules.jq" "$work/config.json"
}

combinations=(
  "$docker/compose.yaml"
  "$docker/compose.yaml $docker/compose.dev.yaml"
  "$docker/compose.yaml $docker/compose.tls.yaml"
  "$docker/compose.yaml $docker/compose.tls.yaml $docker/compose.tls.dev.yaml"
  "$docker/compose.yaml $docker/compose.dev.yaml $docker/compose.tls.yaml"
  "$docker/compose.yaml $docker/compose.dev.yaml $docker/compose.tls.yaml $docker/compose.tls.dev.yaml"
  "$root/compose.yaml"
  "$docker/compose.yaml $docker/compose.dev.yaml $root/.devcontainer/compose.yaml"
  "$docker/compose.yaml $docker/compose.dev.yaml $docker/compose.shop-demo.yaml"
)
# Each of these is added to each of the first six.
for extra in monitoring gpu cameras faces-live faces-uploads audio "monitoring gpu cameras faces-live faces-uploads audio"; do
  for number in 0 1 2 3 4 5; do
    added=${combinations[number]}
    for file in $extra; do
      added+=" $docker/compose.$file.yaml"
      [[ $added != *compose.dev.yaml* || ! -f $docker/compose.$file.dev.yaml ]] || added+=" $docker/compose.$file.dev.yaml"
    done
    combinations+=("$added")
  done
done

for combination in "${combinations[@]}"; do
  # shellcheck disable=SC2086 # One path a word.
  broken=$(broken_rules $combination)
  [ -z "$broken" ] || fail "$combination: $broken"
done
ok "${#combinations[@]} combinations are valid and keep the rules"

# breaks SERVICE WHAT FILE…: the rules notice a combination that does not start, or starts with too much.
breaks() {
  local wanted="$1: $2" broken
  shift 2
  broken=$(broken_rules "$@")
  grep --quiet --line-regexp --fixed-strings "$wanted" <<<"$broken" || fail "not noticed in $*: $wanted; only: $broken"
}
breaks detector-worker "its secrets are files, which development does not have" \
  "$docker/compose.yaml" "$docker/compose.dev.yaml" "$docker/compose.faces-live.yaml"
printf 'services: { faces: { environment: { SIGHTLINE_DATABASE_URL_FILE: /run/secrets/database_url } } }\n' >"$work/owner.yaml"
breaks faces "it connects to the database with another role than its own" "$docker/compose.yaml" "$work/owner.yaml"
ok "secrets that development does not have, and a service that is the owner of the tables, are noticed"

# Each secret of production is one that scripts/compose-secrets makes, except the token of the cameras.
broken_rules "$docker"/compose{,.tls,.monitoring,.faces-live}.yaml >/dev/null
while read -r secret; do [ -s "$secret" ] || fail "scripts/compose-secrets does not make $secret"; done \
  < <(jq --raw-output '.secrets[].file' "$work/config.json")
ok "scripts/compose-secrets makes every secret"

use "$docker/compose.yaml"
subnet=$(docker compose config --format json | jq --raw-output '.networks.edge.ipam.config[0].subnet')
[[ ! $subnet =~ ^(172\.(1[6-9]|2[0-9]|3[01])|192\.168)\. ]] || fail "Docker itself may choose the network $subnet"

builders() { docker compose config --format json | jq '[.services[] | select(.build != null and .image == "sightline:check")] | length'; }
[ "$(builders)" = 0 ] || fail "production builds an image"
use "$root/compose.yaml"
[ "$(builders)" = 1 ] || fail "not exactly one service builds the image"

# `${NAME…}`, and `NAME:` without a value, which passes on what .env or the shell has.
grep --no-filename --only-matching --extended-regexp '\$\{[A-Z_]+|^ +[A-Z_]+:$' "$docker"/compose*.yaml \
  "$root"/{,.devcontainer/}compose.yaml | tr --delete '${ :' | sort --unique | comm -23 - <(settings_of_compose | sort) >"$work/undocumented"
[ ! -s "$work/undocumented" ] || fail ".env.example lacks: $(paste -sd' ' "$work/undocumented")"

# What the files of settings select.
for file in .env.example .env.local .env.prod; do
  (cd "$root" && unset COMPOSE_FILE && docker compose --env-file "$file" config --quiet) || fail "docker compose config with $file"
  ! grep -E '^[#A-Z_]*(PASSWORD|TOKEN|SECRET|KEY)=.' "$root/$file" || fail "$file has a secret"
done
# `./sightline` reads a .env too, and refuses a SIGHTLINE_ name that is no setting.
for file in .env.example .env.local .env.prod; do
  mkdir "$work/$file.folder"
  grep -v '^COMPOSE_FILE' "$root/$file" >"$work/$file.folder/.env"
  (cd "$work/$file.folder" && unset SIGHTLINE_IMAGE && "$sightline" models list >"$work/models.log" 2>&1) \
    || { cat "$work/models.log" >&2; fail "sightline refuses $file"; }
done
ok ".env.example, .env.local and .env.prod are valid and have no secret"

# Every metric that an alert rule or a panel names is one that a program exports.
grep --only-matching --no-filename --extended-regexp 'sightline_[a-z_]+' "$docker/monitoring/alerts.yaml" "$docker"/monitoring/grafana/dashboards/*.json \
  | sed 's/_bucket$//' | sort --unique >"$work/metrics"
while read -r metric; do
  grep --quiet --recursive --include='*.rs' "\"$metric\"" "$root"/{ingest-api,detector-worker,faces,indexer,alert-stream,shop-api,audio-worker}/src "$root"/crates/*/src \
    || fail "no program exports $metric"
done <"$work/metrics"
ok "$(wc -l <"$work/metrics") metrics of alert rules and panels are exported"
unset COMPOSE_FILE MAIL_SINK
