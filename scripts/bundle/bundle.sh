# Sourced by scripts/release: the bundle that installs without a network. The caller has what parts.sh has, and $trial.
# shellcheck shell=bash disable=SC2154

# The images of others that production uses, as its compose files name them.
server_images() {
  docker compose --file "$root/docker/compose.yaml" --file "$root/docker/compose.tls.yaml" --file "$root/docker/compose.monitoring.yaml" \
    config --images | grep -v '^sightline:' | sort --unique
}

is_stand_in() { [ -n "$(docker image inspect --format '{{index .Config.Labels "recipe"}}' "$1")" ]; }

# Writes to $work/lacks what a trial lacks.
fetch_server_images() {
  local server
  : >"$work/lacks"
  : >"$work/servers.found"
  while read -r server; do
    if ! docker image inspect "$server" >/dev/null 2>&1; then
      if [ -n "$trial" ]; then echo "$server is left out: it is not on the machine that made this" >>"$work/lacks"; continue; fi
      docker pull --quiet "$server" >&2 || die "could not fetch $server"
    fi
    if is_stand_in "$server"; then
      [ -n "$trial" ] || die "$server is a stand-in for checks (scripts/stand-ins) and not the public image"
      echo "$server is a stand-in for checks and not the public image" >>"$work/lacks"
    fi
    echo "$server" >>"$work/servers.found"
  done <"$work/servers"
}

make_bundle() {
  local bundle=$work/$name-bundle servers
  mapfile -t servers <"$work/servers.found"
  mkdir -p "$bundle/images" "$bundle/programs" "$bundle/chart" "$bundle/sbom"
  # Only what is committed: compose files and their settings, documents, what makes the secrets.
  git -C "$root" archive HEAD docker .env.example .env.prod topics.yaml docs README.md CHANGELOG.md LICENSE scripts/lib.sh \
    scripts/compose-secrets | tar --extract --directory "$bundle"
  install -m 755 "$root/scripts/bundle/install" "$bundle/install"
  ln "$release/$name-images.tar.gz" "$bundle/images/sightline.tar.gz"
  save_images "$bundle/images/servers.tar.gz" "${servers[@]}"
  printf '%s\n' "$image" "$engine_image" "$camera_image" "${servers[@]}" >"$bundle/images/images.txt"
  ln "$release/$name.tgz" "$bundle/chart/"
  ln "$release"/*-linux-*.tar.gz "$bundle/programs/"
  ln "$release"/*.cdx.json "$bundle/sbom/"
  cp -r "$programs/share/sightline" "$bundle/models"
  {
    echo "Sightline $version, revision $revision"
    sed 's/^/TRIAL: /' "$work/lacks"
  } >"$bundle/RELEASE"
  sign "$bundle"
  archive "$release/$name-bundle.tar" "$bundle"
}
