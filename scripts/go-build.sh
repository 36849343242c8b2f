# Sourced by scripts that need a program of a Go module: builds it once, with the Go version that it requires. go checks modules by the
# checksum database, this file by the hashes that it is given; the go.sum of a module holds its dependencies.
# shellcheck shell=bash

go_version=1.25.12
# For x86-64. Other machines need a Go of this version or a later one.
go_hash=h1:AipLNAZSwISqkbKBzTKHeWQG/R608fShRbc3RaxOL38=

# fetch_module MODULE VERSION HASH: prints the folder of the checked module.
fetch_module() {
  local info
  info=$(go mod download -json "$1@$2") || die "could not fetch $1 $2: check this machine's connection to a Go module proxy"
  [ "$(sed -n 's/^\t"Sum": "\(.*\)",$/\1/p' <<<"$info")" = "$3" ] || die "$1 $2 must have the hash $3: $info"
  sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$info"
}

# choose_go: prints the go command to build with: the installed one or, if that is too old, the pinned one. Any Go can fetch
# the pinned one as a module, but an old Go loses the permissions of its files.
choose_go() {
  local installed toolchain
  installed=$(go env GOVERSION)
  if [ "$(printf '%s\n' "$go_version" "${installed#go}" | sort -V | head -n 1)" = "$go_version" ]; then
    command -v go
    return
  fi
  [ "$(uname -m)" = x86_64 ] || die "Go $go_version or later is needed; installed is $installed"
  toolchain=$(fetch_module golang.org/toolchain "v0.0.1-go$go_version.linux-amd64" "$go_hash")
  chmod -R u+x "$toolchain/bin" "$toolchain/pkg/tool"
  printf '%s\n' "$toolchain/bin/go"
}

# build_go_program MODULE VERSION HASH PACKAGE TARGET: builds a package of the module, at the lowest priority, and moves the program to TARGET.
build_go_program() {
  local module=$1 version=$2 hash=$3 package=$4 target=$5 folder go
  have go || need_packages golang-go
  folder=$(mktemp -d)
  local -x GOMODCACHE=$folder/mod GOCACHE=$folder/build GOFLAGS=-modcacherw GOTOOLCHAIN=local
  go=$(choose_go)
  fetch_module "$module" "$version" "$hash" >/dev/null
  say "building $package $version"
  CGO_ENABLED=0 GOBIN=$folder/bin nice -n 19 "$go" install "$package@$version" >&2 || die "could not build $package"
  mkdir -p "$(dirname "$target")"
  mv "$folder/bin/$(basename "$package")" "$target"
  rm -rf "$folder"
}

# k6_program: prints the path of k6, which it builds if needed.
k6_program() {
  local version=v1.8.1 hash=h1:orZsbZ2Od0CVZICs9YpTgkKcxfPghJW8VZtwg0cj8H8=
  local target=$cache/k6-$version/k6
  [ -x "$target" ] || build_go_program go.k6.io/k6 "$version" "$hash" go.k6.io/k6 "$target"
  printf '%s\n' "$target"
}
