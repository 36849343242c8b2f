# Sourced by scripts/docker-engine after lib.sh and servers-install.sh: Debian's Docker engine, unpacked into the cache, and the base
# images, made by debootstrap. Nothing is installed as a system service.
# shellcheck shell=bash

docker_home=$cache/docker
engine=$docker_home/engine-20.10
# Raised when what is below makes other base images; then these are made again.
bases_version=2

# The engine is of this Debian; Compose and Buildx are of the next one, because this one's Compose does not know `include`.
install_engine() {
  need_packages iptables iproute2 libdevmapper1.02.1 libsystemd0 libseccomp2 util-linux procps xz-utils
  [ ! -f "$engine/complete" ] || return 0
  need_debian_12 "a Docker engine"
  say "fetching Debian's Docker engine"
  rm -rf "$engine"
  unpack_debian "$engine" docker.io containerd runc tini
  unpack_trixie "$engine" docker-compose docker-buildx
  mkdir -p "$engine/config"
  ln -s "$engine/usr/libexec/docker/cli-plugins" "$engine/config/cli-plugins"
  "$engine/usr/sbin/dockerd" --version >&2 || die "dockerd does not run on this machine"
  touch "$engine/complete"
}

# debian_tree SUITE FOLDER: a minimal Debian, with the sources of updates that the public image has.
debian_tree() {
  local suite=$1 folder=$2 mirror
  need_packages debootstrap
  mirror=$(debian_mirror)
  say "making a Debian $suite"
  debootstrap --variant=minbase "$suite" "$folder" "$mirror" >"$folder.log" 2>&1 \
    || { tail -n 20 "$folder.log" >&2; die "debootstrap of $suite failed"; }
  if [ "$suite" = bookworm ]; then
    install -m 644 /etc/apt/sources.list.d/debian.sources "$folder/etc/apt/sources.list.d/" 2>/dev/null \
      && rm -f "$folder/etc/apt/sources.list"
  fi
  rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
  without_documents "$folder"
}

# The public -slim images have no documents and translations, and their package manager adds none.
without_documents() {
  printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' >"$1/etc/dpkg/dpkg.cfg.d/docker"
  rm -rf "$1"/usr/share/{doc,man,info,locale}/*
}

# make_bases FOLDER: imports the base images that the engine lacks. The base of build stages trusts the authorities that this machine
# trusts, as a build behind a company's proxy must; the base of final stages does not.
make_bases() {
  local folder=$1
  if ! has_base debian:bookworm || ! has_base debian:bookworm-slim; then
    debian_tree bookworm "$folder/bookworm"
    import_tree "$folder/bookworm" debian:bookworm-slim
    mkdir -p "$folder/bookworm/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$folder/bookworm/usr/local/share/ca-certificates" \;
    import_tree "$folder/bookworm" debian:bookworm
    rm -rf "$folder/bookworm"
  fi
  if ! has_base debian:trixie-slim; then
    debian_tree trixie "$folder/trixie"
    import_tree "$folder/trixie" debian:trixie-slim
    rm -rf "$folder/trixie"
  fi
}

# recipe_of IMAGE: of which recipe it was made; nothing if it is not there.
recipe_of() { docker image inspect --format '{{index .Config.Labels "recipe"}}' "$1" 2>/dev/null || true; }

has_base() { [ "$(recipe_of "$1")" = "$bases_version" ]; }

import_tree() {
  tar -C "$1" -c . | docker import --change 'CMD ["bash"]' --change "LABEL recipe=$bases_version" - "$2" >/dev/null \
    || die "could not import $2"
}
