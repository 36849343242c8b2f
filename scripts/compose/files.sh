# Part of scripts/compose/run.sh: every combination of files is valid and keeps the rules of docs/DEPLOY.md.
# shellcheck shell=bash

mkdir -p "$SECRETS_DIR" "$TLS_DIR"

# rule NAME FILTER: a jq filter over the project that prints each service that breaks the rule.
rule() {
  local broken
  broken=$(jq --raw-output ".services | to_entries[] | $2 | .key" "$work/config.json" | paste -sd' ')
  [ -z "$broken" ] || fail "$COMPOSE_FILE: $1: $broken"
}

# Runs once: it ends.
once='(.key | IN("preflight", "secrets", "certs", "mongodb-init", "migrate", "topics"))'

check_rules() {
  rule "no limit of its log" 'select(.value.logging.options."max-size" == null or .value.logging.options."max-file" == null)'
  rule "no limit of its memory" "select($once | not) | select(.value.mem_limit == null)"
  rule "it may gain privileges" "select($once | not) | select(.key != \"dev\")
    | select((.value.security_opt // []) | index(\"no-new-privileges:true\") | not)"
  rule "no health check" "select($once | not) | select(.key | IN(\"demo\", \"dev\") | not) | select(.value.healthcheck.test == null)"
  rule "its check starts Java or Node" 'select((.value.healthcheck.test // []) | join(" ") | test("mongosh|kafka-"))'
  rule "a floating image" 'select(.value.image != null) | select(.value.image | test(":(latest|[0-9]+)$|^[^:]*$"))'
  rule "our image would be looked for in a registry" 'select(.value.image == "sightline:dev") | select(.value.pull_policy != "never")'
  rule "a password in its settings" 'select((.value.environment // {}) | to_entries[] | select(.value != null)
    | (.value | tostring | test("://[^/]*:[^/]*@")) or ((.key | test("PASSWORD|TOKEN$")) and (.value | tostring | test("^/run/") | not)))'
  rule "it reaches the databases and is published" 'select((.value.networks // {}) | keys == ["data", "edge"])
    | select(.value.ports != null)'
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
)
# Each of these is added to each of the first six.
for extra in monitoring gpu "monitoring gpu"; do
  for number in 0 1 2 3 4 5; do
    added=${combinations[number]}
    for file in $extra; do added+=" $docker/compose.$file.yaml"; done
    combinations+=("$added")
  done
done

for combination in "${combinations[@]}"; do
  # shellcheck disable=SC2086 # One path a word.
  use $combination
  SIGHTLINE_IMAGE='' docker compose config --format json >"$work/config.json" || fail "docker compose config of $COMPOSE_FILE"
  check_rules
done
ok "${#combinations[@]} combinations are valid and keep the rules"

builders() { docker compose config --format json | jq '[.services[] | select(.build != null and .image == "sightline:check")] | length'; }
use "$docker/compose.yaml"
[ "$(builders)" = 0 ] || fail "production builds an image"
use "$root/compose.yaml"
[ "$(builders)" = 1 ] || fail "not exactly one service builds the image"

# What the files of settings select.
for file in .env.example .env.local .env.prod; do
  (cd "$root" && unset COMPOSE_FILE && docker compose --env-file "$file" config --quiet) || fail "docker compose config with $file"
  ! grep -E '^[A-Z_]*(PASSWORD|TOKEN|SECRET|KEY)[A-Z_]*=.' "$root/$file" || fail "$file has a secret"
done
# `./sightline` reads a .env too, and refuses a SIGHTLINE_ name that is no setting.
for file in .env.example .env.local .env.prod; do
  mkdir "$work/$file.folder"
  grep -v '^COMPOSE_FILE' "$root/$file" >"$work/$file.folder/.env"
  (cd "$work/$file.folder" && unset SIGHTLINE_IMAGE && "$sightline" models list >"$work/models.log" 2>&1) \
    || { cat "$work/models.log" >&2; fail "sightline refuses $file"; }
done
ok ".env.example, .env.local and .env.prod are valid and have no secret"
unset COMPOSE_FILE
