# Part of scripts/compose/run.sh: Prometheus reads every service, and its alert rules do what they say. Grafana's image cannot be had
# where this check runs, so its dashboard is checked for its form and its metrics only.
# shellcheck shell=bash disable=SC2034 # `call` reads address and token.

# promtool ARGUMENT…: in the image, beside the files.
promtool() { docker run --rm --network none --entrypoint promtool --volume "$docker/monitoring:/monitoring:ro" "${PROMETHEUS_IMAGE:-prom/prometheus:v3.5.0}" "$@"; }
promtool check config --syntax-only /monitoring/prometheus.yaml >/dev/null || fail "prometheus.yaml is not valid"
promtool test rules /monitoring/alerts.test.yaml >"$work/rules.log" 2>&1 || { cat "$work/rules.log" >&2; fail "the alert rules"; }
ok "the alert rules are valid and raise their alerts"
for dashboard in "$docker"/monitoring/grafana/dashboards/*.json; do
  jq --exit-status '.uid != null and (.panels | length > 0) and ([.panels[].id] | length == (unique | length))' "$dashboard" >/dev/null \
    || fail "$dashboard is no dashboard"
done

default_settings
"$root/scripts/compose-secrets" "$SECRETS_DIR"
# A start script of PostgreSQL that takes longer than the health check's first looks: its temporary server must not count as healthy.
echo 'sleep 8' >"$work/slow.sh"
# And a Prometheus that looks more often, so that nobody waits for it here.
sed 's/_interval: .*/_interval: 2s/' "$docker/monitoring/prometheus.yaml" >"$work/prometheus.yaml"
cat >"$work/slow.yaml" <<YAML
services:
  postgres: { volumes: ["$work/slow.sh:/docker-entrypoint-initdb.d/slow.sh:ro"] }
  prometheus: { volumes: ["$work/prometheus.yaml:/etc/prometheus/prometheus.yaml:ro"] }
YAML
use "$docker/compose.yaml" "$docker/compose.monitoring.yaml" "$work/slow.yaml"
compose up --detach --wait prometheus ingest-api detector-worker indexer alert-stream faces shop-api
ok "a slow initialisation of PostgreSQL is waited for"
token=$(cat "$SECRETS_DIR/admin_token")
address=http://127.0.0.1:8000
push monitored

# query EXPRESSION FILTER: whether the result of the query satisfies a jq filter.
query() {
  curl --silent --show-error --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq --exit-status ".data.result | $2" >/dev/null
}
within 60 query 'up{job="sightline"} == 1' '[.[].metric.service] | sort == ["alert-stream", "detector-worker", "faces", "indexer", "ingest-api", "shop-api"]'
within 60 query 'sum(sightline_ingest_frames_total)' '.[0].value[1] == "1"'
within 60 query 'sum(sightline_worker_frames_total{outcome="ok"})' '.[0].value[1] == "1"'
rules=$(curl --silent http://127.0.0.1:9090/api/v1/rules | jq '[.data.groups[].rules[] | select(.health != "err")] | length')
[ "$rules" = "$(grep -c 'alert: ' "$docker/monitoring/alerts.yaml")" ] || fail "Prometheus has $rules rules"
ok "Prometheus reads six services and evaluates $rules rules"
compose down --volumes --timeout 2
