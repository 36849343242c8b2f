# Sourced by scripts/kubernetes-check: builds the programs of a Kubernetes cluster and of its charts, once, into the cache. Go
# checks every module against the committed go.sum; etcd is Debian's. The first build needs about ten minutes of CPU time.
# shellcheck shell=bash

kubernetes_go=$root/scripts/kubernetes/cluster
conftest_go=$root/scripts/kubernetes/conftest
etcd=$cache/kubernetes/etcd-$(. /etc/os-release && echo "$VERSION_ID")

# The folder of a module's programs: another version of anything in it is another folder.
programs_of() { printf '%s/kubernetes/%s-%s\n' "$cache" "$(basename "$1")" "$(cat "$1/go.mod" "$1/go.sum" | sha256sum | cut -c1-12)"; }

need_go() {
  local wanted
  wanted=$(awk '$1 == "go" {print $2}' "$conftest_go/go.mod")
  have go || die "there is no go on PATH: install Go $wanted or newer"
  [ "$(printf 'go%s\n%s\n' "$wanted" "$(go env GOVERSION)" | sort -V | head -n 1)" = "go$wanted" ] \
    || die "Go $wanted or newer is needed; this is $(go env GOVERSION)"
}

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
  local module=$1 programs package flags
  programs=$(programs_of "$module")
  [ ! -f "$programs/complete" ] || return 0
  need_go
  mkdir -p "$programs"
  exec 9>"$programs/lock"
  flock 9
  [ ! -f "$programs/complete" ] || return 0
  flags=$(version_flags)
  cd "$module"
  for package in $(go list tool); do
    say "building $(basename "$package") of Go module $(basename "$module")"
    CGO_ENABLED=0 nice -n 10 go build -trimpath -ldflags "$flags" -o "$programs/" "$package" || die "could not build $package"
  done
  touch "$programs/complete"
)
