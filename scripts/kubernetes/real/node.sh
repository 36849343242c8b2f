# Sourced by scripts/kubernetes/real/run.sh: one real node. containerd runs the pods, Debian's network plugins connect them, kube-proxy
# routes Services, and dnsmasq resolves their names.
# shellcheck shell=bash disable=SC2154 # run.sh defines the folders; cluster.sh has `launch` and `within`.

# Addresses of the node and of its pods. The network namespace has no other network.
node_address=10.230.0.1
pod_network=10.231.0.0/24
# Debian's packages, which are unpacked and not installed.
node_files=$cache/kubernetes/node-files

install_node_files() {
  need_packages libdbus-1-3 libhogweed6 libidn2-0 libnetfilter-conntrack3 libnettle8 libnftables1
  [ ! -f "$node_files/complete" ] || return 0
  need_debian_12 "a Kubernetes node"
  rm -rf "$node_files"
  unpack_debian "$node_files" containernetworking-plugins dnsmasq-base
  "$node_files/usr/sbin/dnsmasq" --version >/dev/null || die "dnsmasq does not run on this machine"
  touch "$node_files/complete"
}

# The programs of a node write to folders with fixed names, and kubelet changes settings of the kernel that belong to no namespace. All
# of it is covered in this mount namespace, so nothing of it is seen outside, and nothing is left.
cover_machine() {
  local folder setting
  mount --make-rprivate /
  for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
  mkdir -p "$work/kernel" /run/lock
  for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    cat "/proc/sys/$setting" >"$work/kernel/${setting//\//.}"
    mount --bind "$work/kernel/${setting//\//.}" "/proc/sys/$setting"
  done
}

# The interface leads nowhere. It has the default route, because the kernel looks for one before kube-proxy's rules change the address of a Service.
connect_node() {
  ip link set lo up
  ip link add node type bridge
  ip address add "$node_address/24" dev node
  ip link set node up
  ip route add default dev node
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # Pods of one bridge talk through the rules, too: the answer of a Service comes from the Service's address.
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables || die "the kernel has no br_netfilter"
  # Docker drops what it does not forward itself.
  iptables -P FORWARD ACCEPT
}

start_containerd() {
  mkdir -p "$work/cni"
  cat >"$work/cni/pods.conflist" <<CONFIG
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
 "ipam": {"type": "host-local", "dataDir": "/run/pods", "ranges": [[{"subnet": "$pod_network"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONFIG
  cat >"$work/containerd.toml" <<CONFIG
version = 2
root = "$work/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:check"
# The machine may not allow a lower one.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$node_files/usr/lib/cni"
conf_dir = "$work/cni"
CONFIG
  launch containerd containerd --config "$work/containerd.toml"
  within 120 "containerd" ctr version
}

# The images that the pods use: the product, and the process that holds a pod's network.
import_images() {
  printf 'FROM debian:bookworm-slim\nCMD ["sleep", "infinity"]\n' | DOCKER_BUILDKIT=0 docker build --quiet --tag pause:check - >/dev/null
  docker save sightline:check pause:check | ctr --namespace k8s.io images import - >"$work/import.log" \
    || die "containerd does not take the images: $(cat "$work/import.log")"
}

# make_group GROUP: the control group of all containers. To the scheduler they are together one process beside each of the machine's
# others, so the group gets the weight of thirty.
make_group() {
  local controller
  for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller$1"; done
  [ ! -f "/sys/fs/cgroup/cpu/$1/cpu.shares" ] || echo 30720 >"/sys/fs/cgroup/cpu/$1/cpu.shares"
}

# start_node GROUP
start_node() {
  local group=$1
  cat >"$work/kubelet.yaml" <<CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
# No other program is in this network namespace.
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$group
failCgroupV1: false
failSwapOn: false
clusterDNS: [$node_address]
clusterDomain: cluster.local
resolvConf: ""
# The disk is the machine's: nothing is evicted or deleted because others fill it.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
CONFIG
  cat >"$work/kube-proxy.yaml" <<CONFIG
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $KUBECONFIG}
hostnameOverride: node-1
mode: iptables
clusterCIDR: $pod_network
# These limits belong to the machine.
conntrack: {maxPerCore: 0}
CONFIG
  launch kubelet kubelet --config "$work/kubelet.yaml" --kubeconfig "$KUBECONFIG" --hostname-override node-1 --node-ip "$node_address" \
    --cert-dir "$work/kubelet"
  launch kube-proxy kube-proxy --config "$work/kube-proxy.yaml"
  within 300 "the node" kubectl wait --for=condition=Ready node/node-1 --timeout=0s
}

start_dns() {
  mkdir "$work/names"
  launch dnsmasq "$node_files/usr/sbin/dnsmasq" --no-daemon --no-resolv --no-hosts --hostsdir "$work/names" --listen-address "$node_address" \
    --bind-interfaces --user=root --pid-file
}

# Tells dnsmasq the Services that have an address.
publish_names() {
  kubectl get service --all-namespaces --output \
    'jsonpath={range .items[?(@.spec.clusterIP!="None")]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{"\n"}{end}' \
    >"$work/services"
  mv "$work/services" "$work/names/services"
}
