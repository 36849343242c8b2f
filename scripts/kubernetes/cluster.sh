# Sourced by scripts/kubernetes-check and scripts/kubernetes/real/run.sh: a control plane of real programs on the loopback interface.
# Without a real node, kwok plays the nodes: it says that their pods run, and starts no program.
# shellcheck shell=bash

processes=()

# launch NAME COMMAND…: in a session of its own, so that an interrupt at the terminal does not end it before its clients.
launch() {
  local name=$1
  shift
  setsid "$@" >"$work/$name.log" 2>&1 </dev/null &
  processes+=("$!")
}

# Ends everything that launch started, the last first, by process id.
stop_cluster() {
  local number pid deadline=$((SECONDS + 10))
  for ((number = ${#processes[@]} - 1; number >= 0; number--)); do
    kill "${processes[number]}" 2>/dev/null || true
  done
  for pid in "${processes[@]}"; do
    while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  processes=()
}

# within SECONDS WHAT COMMAND…: waits until the command succeeds.
within() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    all_run || die "$what: a program of the cluster has ended"
    [ "$SECONDS" -lt "$deadline" ] || die "$what: not within the time limit"
    sleep 0.2
  done
}

all_run() {
  local pid
  for pid in "${processes[@]}"; do kill -0 "$pid" 2>/dev/null || { tail -n 5 "$work"/*.log >&2; return 1; }; done
}

start_control_plane() {
  local etcd_port peer_port token
  etcd_port=$(free_port 24379)
  peer_port=$(free_port $((etcd_port + 1)))
  api_port=$(free_port $((peer_port + 1)))
  token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
  launch etcd etcd --data-dir "$work/etcd" --unsafe-no-fsync --log-level error \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "default=http://127.0.0.1:$peer_port"
  openssl genrsa -out "$work/accounts.key" 2048 2>/dev/null
  (umask 077 && printf '%s,admin,admin,system:masters\n' "$token" >"$work/tokens.csv")
  launch kube-apiserver kube-apiserver --etcd-servers "http://127.0.0.1:$etcd_port" --cert-dir "$work/certificates" \
    --bind-address 127.0.0.1 --secure-port "$api_port" --token-auth-file "$work/tokens.csv" --authorization-mode RBAC \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$work/accounts.key" \
    --service-account-signing-key-file "$work/accounts.key" --service-cluster-ip-range 10.96.0.0/16 --endpoint-reconciler-type none \
    --kubelet-preferred-address-types InternalIP
  write_kubeconfig "$token"
  within 180 "the API server" kubectl get --raw /readyz
  # kwok's nodes send no heartbeat. After the grace period, 50 s by default, their pods would not be ready any more.
  launch kube-controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port 0 \
    --service-account-private-key-file "$work/accounts.key" --node-monitor-grace-period 2h
  launch kube-scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port 0
}

write_kubeconfig() {
  export KUBECONFIG=$work/kubeconfig
  (umask 077 && cat >"$KUBECONFIG") <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: check, cluster: {server: "https://127.0.0.1:$api_port", certificate-authority: $work/certificates/apiserver.crt}}]
users: [{name: admin, user: {token: $1}}]
contexts: [{name: check, context: {cluster: check, user: admin}}]
current-context: check
CONFIG
}

# Two nodes whose pods are ready at once, and whose jobs complete at once.
start_kwok() {
  local stages name
  stages=$(kwok_stages)
  for name in node/fast/node-initialize pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
    cat "$stages/$name.yaml"
    echo ---
  done >"$work/stages.yaml"
  launch kwok kwok --kubeconfig "$KUBECONFIG" --manage-all-nodes=true --config "$work/stages.yaml"
  for name in node-1 node-2; do
    printf 'apiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {kubernetes.io/hostname: %s}}\n---\n' "$name" "$name"
  done | kubectl apply --filename - >/dev/null
  within 30 "the nodes" kubectl wait --for=condition=Ready node/node-1 node/node-2 --timeout=0s
}
