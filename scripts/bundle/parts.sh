# Sourced by scripts/release: each part of a release, and a look at it. The caller has $version, $revision, $name, $image, $engine_image,
# $camera_image, $work and $release.
# shellcheck shell=bash disable=SC2154

# archive FILE FOLDER: what the folder is named after is the folder in the archive. Order, times and owners are always the same.
archive() {
  tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --directory "$(dirname "$2")" \
    "$(basename "$2")" | case $1 in *.gz) gzip --no-name ;; *) cat ;; esac >"$1"
}

build_images() {
  build_image "$image"
  build_image "$engine_image" --target engine
  build_image "$camera_image" --target camera
}

# build_image TAG ARGUMENT…
build_image() {
  local tag=$1 label
  shift
  say "building $tag"
  docker build --network "${BUILD_NETWORK:-default}" --file "$root/docker/Dockerfile" --build-arg VERSION="$version" \
    --build-arg REVISION="$revision" --build-arg SOURCE="${RELEASE_SOURCE:-}" --tag "$tag" "$@" --progress plain "$root" >"$work/build.log" 2>&1 \
    || { tail -n 40 "$work/build.log" >&2; die "could not build $tag"; }
  label=$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$tag")
  [ "$label" = "$revision" ] || die "$tag is of the revision $label"
}

# save_images FILE IMAGE…: one archive, in which images share their layers.
save_images() {
  local file=$1 wanted
  shift
  docker save "$@" | gzip -2 --no-name >"$file"
  wanted=$(printf '%s\n' "$@" | sort)
  [ "$(tar -xzOf "$file" manifest.json | jq --raw-output '.[].RepoTags[]' | sort)" = "$wanted" ] || die "$file has other images than $*"
}

# The programs of the images, to run without Docker, with the library and the models that they need.
make_programs() {
  local folder container
  folder=$work/$name-linux-$(uname -m)
  container=$(docker create "$image")
  mkdir -p "$folder/lib" "$folder/share"
  docker cp "$container:/usr/local/bin" "$folder/bin" >/dev/null
  docker cp "$container:/usr/local/lib/libonnxruntime.so" "$folder/lib" >/dev/null
  docker cp "$container:/usr/local/lib/onnxruntime" "$folder/lib" >/dev/null
  docker cp "$container:/usr/local/share/sightline" "$folder/share" >/dev/null
  docker rm "$container" >/dev/null
  add_camera "$folder"
  [ "$("$folder/bin/sightline" --version)" = "sightline $version" ] || die "the program is $("$folder/bin/sightline" --version)"
  SIGHTLINE_MODELS_DIR=$folder/share/sightline/models "$folder/bin/sightline" models list >"$work/models"
  grep --quiet ' installed ' "$work/models" || die "the release has no model"
  programs=$folder
  archive "$release/$(basename "$folder").tar.gz" "$folder"
}

# Without FFmpeg, which the program takes from the machine.
add_camera() {
  local container
  container=$(docker create "$camera_image")
  docker cp "$container:/usr/local/bin/camera" "$1/bin/sightline-camera" >/dev/null
  docker cp "$container:/usr/local/share/sightline/crates.NOTICE" "$1/share/sightline/camera-crates.NOTICE" >/dev/null
  docker rm "$container" >/dev/null
  [ "$(docker run --rm --network none "$camera_image" camera --version)" = "camera $version" ] || die "the camera program is of another version"
}

make_chart() {
  local shown
  helm package "$root/docker/kubernetes/chart" --destination "$release" >/dev/null || die "could not package the chart"
  shown=$(helm show chart "$release/$name.tgz" | sed -n 's/^appVersion: //p')
  [ "$shown" = "$version" ] || die "the chart is of the version '$shown'"
  helm template "$name" "$release/$name.tgz" --values "$root/docker/kubernetes/values/example.yaml" >/dev/null || die "the chart gives no manifests"
}

# CycloneDX: Debian's packages and the crates in the programs.
make_sboms() {
  make_sbom "docker:$image" "$release/$name-image.cdx.json" deb
  make_sbom "docker:$engine_image" "$release/$name-engine.cdx.json" deb
  make_sbom "docker:$camera_image" "$release/$name-camera.cdx.json" deb
  # Whoever passes the image on must offer the source of this version.
  jq --exit-status 'any(.components[]; .purl // "" | startswith("pkg:deb/debian/libavcodec"))' "$release/$name-camera.cdx.json" >/dev/null \
    || die "the list of the camera's image has no FFmpeg"
  make_sbom "dir:$programs" "$release/$name-programs.cdx.json"
}

# make_sbom SOURCE FILE [deb]
make_sbom() {
  local crates packages
  SYFT_CHECK_FOR_APP_UPDATE=false syft scan --quiet "$1" --output cyclonedx-json="$2" || die "could not list the parts of $1"
  crates=$(jq '[.components[]?.purl // "" | select(startswith("pkg:cargo/"))] | unique | length' "$2")
  packages=$(jq '[.components[]?.purl // "" | select(startswith("pkg:deb/"))] | unique | length' "$2")
  [ "$crates" -gt 200 ] || die "$2 lists $crates crates"
  [ "${3:-}" != deb ] || [ "$packages" -gt 50 ] || die "$2 lists $packages Debian packages"
}
