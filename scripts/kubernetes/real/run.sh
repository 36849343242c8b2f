#!/usr/bin/env bash
# Inside an engine without a network: the part of scripts/kubernetes-real that runs.
#
#   scripts/docker-engine run unshare --mount scripts/kubernetes/real/run.sh SIGHTLINE REQUESTS
set -euo pipefail
source "$(dirname "$0")/../../lib.sh"
source "$root/scripts/servers-install.sh"
source "$root/scripts/kubernetes-install.sh"
source "$root/scripts/kubernetes/cluster.sh"
source "$root/scripts/kubernetes/real/node.sh"
source "$root/scripts/kubernetes/real/servers.sh"

sightline=$1
least_requests=$2
chart=$root/docker/kubernetes/chart
real=$root/scripts/kubernetes/real
# The control groups of the engine's run, whose name is that of its folder: it removes them at the end.
group=$(basename "${TMPDIR:?run it with scripts/docker-engine}")
namespace=(--namespace sightline)
kube() { kubectl "${namespace[@]}" "$@"; }
# More than a slow machine needs.
rollout=600s

install_product() {
  kubectl apply --filename "$root/docker/kubernetes/namespace.yaml" >/dev/null
  within 120 "the namespace's account" kube get serviceaccount default
  kube create secret generic sightline --from-literal=admin-token="$token" \
    --from-literal=database-url="$(database_url sightline)" \
    --from-literal=verifier-database-url="$(database_url sightline_verifier)" \
    --from-literal=faces-database-url="$(database_url sightline_faces)" \
    --from-literal=mongodb-uri="mongodb://$node_address:27017/sightline?replicaSet=rs0" \
    --from-literal=redis-url="redis://$node_address:6379" >/dev/null
  make_volume
  write_values
  helm install sightline "$chart" "${namespace[@]}" --values "$work/values.yaml" --timeout "$rollout" >"$work/notes.txt" \
    || die "helm does not install the chart"
  publish_names
  await_rollouts
}

# The volume of the images: a folder of the one node.
make_volume() {
  install -d -o 10001 -g 10001 "$work/blobs"
  kubectl apply --filename - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: blobs}
spec:
  accessModes: [ReadWriteMany]
  capacity: {storage: 50Gi}
  hostPath: {path: $work/blobs}
  claimRef: {namespace: sightline, name: sightline-blobs}
YAML
  sed '/^spec:/a\  storageClassName: ""' "$root/docker/kubernetes/overlays/volume/claim.yaml" | kube apply --filename - >/dev/null
}

# Small requests of CPU: two pods of each service share the cores of one machine.
write_values() {
  cat >"$work/values.yaml" <<YAML
publicUrl: http://sightline.example.org
image: {repository: sightline, tag: check, pullPolicy: Never}
kafka: {brokers: "$node_address:9092"}
blobs: {existingClaim: sightline-blobs}
ingestApi: {resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 1Gi}}}
indexer: {resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}}
alertStream: {resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 1Gi}}}
detectorWorker: {resources: {requests: {cpu: 50m, memory: 256Mi}, limits: {cpu: "1", memory: 2Gi}}}
YAML
}

workloads() { kube get deployment,statefulset --selector app.kubernetes.io/instance=sightline --output name; }

await_rollouts() {
  local workload
  for workload in $(workloads); do
    kube rollout status "$workload" --timeout "$rollout" >/dev/null || die "$workload is not ready within $rollout"
  done
}

# The subscriber is there when it has seen an alert.
first_alert() {
  curl --silent --fail --max-time 5 --header "Authorization: Bearer $token" --json '{"stream": "first", "label": "face"}' \
    "http://$server/v1/detections" && sleep 0.5 && grep -q first "$work/alerts"
}

# Restarts everything, once or as often as it takes for enough requests.
restart_under_load() {
  local begin
  : >"$work/restarts"
  launch load python3 "$real/load.py" "$server" "$token" "$photo" "$work/requests"
  load=${processes[-1]}
  within 120 "accepted requests" grep -q '"frame": "' "$work/requests"
  sleep 5
  while [ "$(python3 "$real/verdict.py" "$work/requests" "$work/restarts")" -lt "$least_requests" ]; do
    begin=$(date +%s.%N)
    kube rollout restart deployment,statefulset --selector app.kubernetes.io/instance=sightline >/dev/null
    await_rollouts
    within 120 "the end of the old pods" old_pods_are_gone
    echo "$begin $(date +%s.%N)" >>"$work/restarts"
    all_run || die "a program has ended during the restart"
    say "restart $(wc -l <"$work/restarts") has ended after $SECONDS s"
  done
  sleep 5
  kill -TERM "$load"
  wait "$load" || die "the clients failed: $(cat "$work/load.log")"
  unset "processes[-1]"
}

old_pods_are_gone() { [ -z "$(kube get pod --output 'jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}')" ]; }

# What there is to see of a node or a product that does not work.
show_failure() {
  local log
  for log in "$work"/*.log; do
    say "--- the end of $(basename "$log")"
    tail -n 5 "$log" >&2
  done
  kube get pod --output wide >&2 || true
  kube get events --sort-by .lastTimestamp 2>/dev/null | tail -n 20 >&2 || true
  for log in /var/log/pods/sightline_*/*/*.log; do
    [ ! -f "$log" ] || { say "--- the end of $log" && tail -n 3 "$log" >&2; }
  done
}

end() {
  local status=$?
  trap - EXIT
  # The faults that it finds are said already.
  [ "$status" = 0 ] || [ -n "$judged" ] || show_failure
  stop_cluster
  stop_servers
  exit "$status"
}

judged=
need_go
PATH=$(programs_of "$kubernetes_go"):$PATH
work=$(mktemp -d)
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset "${!HELM_@}"
export KUBECONFIG=$work/none HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
export CONTAINERD_ADDRESS=/run/containerd/containerd.sock
token=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
photo=$(photograph)

connect_node
make_group "$group"
start_servers
cover_machine
start_containerd
import_images
start_control_plane
start_dns
start_node "$group"
say "the node is ready after $SECONDS s"
install_product
server=$(kube get service sightline-ingest-api --output 'jsonpath={.spec.clusterIP}'):8000
say "the product is ready after $SECONDS s"
launch watch sh -c 'exec "$1" watch --server "http://$2" --token "$3" >"$4"' watch "$sightline" "$server" "$token" "$work/alerts"
within 120 "the first alert" first_alert
restart_under_load
judged=yes
python3 "$real/verdict.py" "$work/requests" "$work/restarts" "$server" "$token" "$work/alerts"
