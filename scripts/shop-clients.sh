# Sourced after lib.sh by scripts that need the shop's clients in Go (scripts/clients/go) or k6. Both are built once, in the cache. go checks
# every module by the go.sum of the clients, and k6 by its hash in scripts/go-build.sh.
# shellcheck shell=bash
source "$root/scripts/go-build.sh"

shop_module=$root/scripts/clients/go
# Settings of a demo: short and common passwords, and no limits by address or user.
# Used by the scripts that source this file.
# shellcheck disable=SC2034
shop_demo=(SIGHTLINE_PASSWORD_MIN_LENGTH=6 SIGHTLINE_PASSWORD_REFUSE_COMMON=off SIGHTLINE_SIGN_INS_PER_ADDRESS=none SIGHTLINE_RATE_LIMIT_RPS=none)

# use_go: puts the Go to build with first on PATH, with its modules in the cache.
use_go() {
  local go
  [ -z "${go_is_chosen:-}" ] || return 0
  have go || need_packages golang-go
  export GOMODCACHE=$cache/go/mod GOCACHE=$cache/go/build GOFLAGS='-modcacherw -mod=readonly' GOTOOLCHAIN=local CGO_ENABLED=0
  # Not in the folder of the module: an older Go cannot read its go.mod.
  go=$(cd / && choose_go)
  PATH=$(dirname "$go"):$PATH
  go_is_chosen=yes
}

# shop_sink: prints the path of the mail sink, a program without libraries.
shop_sink() {
  local hash target
  hash=$(cat "$shop_module"/go.mod "$shop_module"/sink/*.go "$shop_module"/internal/mail/*.go | sha256sum | cut -c1-12)
  target=$cache/shop-clients/sink-$hash
  if [ ! -x "$target" ]; then
    use_go
    say "building the mail sink"
    (cd "$shop_module" && nice -n 19 go build -trimpath -o "$target.part" ./sink) >&2 || die "could not build the mail sink"
    mv "$target.part" "$target"
  fi
  printf '%s\n' "$target"
}

# shop_protos: writes the Go code of the protos, and checks the module with go vet.
shop_protos() {
  use_go
  say "generating the Go code of the protos"
  (cd "$shop_module" && nice -n 19 go run ./generate "$root/crates/contracts/proto" gen && nice -n 19 go vet ./...) >&2 \
    || die "the clients in $shop_module do not build"
}
