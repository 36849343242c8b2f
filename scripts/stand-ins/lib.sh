# Sourced by scripts/docker-engine: builds the stand-ins of public images, each from a folder here and the server's own files.
# shellcheck shell=bash

recipes=$root/scripts/stand-ins
kafka_tools_sha256=8a6939f310a61119cedaffc144119e9b2a374e32a7ec18f78e49ce5aeb71d6b0

# The public images, as the compose files name them.
public_images() {
  sed -n 's/^ *image: "\{0,1\}${[A-Z_]*_IMAGE:-\([^}]*\)}.*/\1/p' "$root"/docker/compose*.yaml | sort -u
}

# Inside the engine: builds every image that is missing or whose recipe has changed.
make_images() {
  local folder image recipe
  folder=$(mktemp -d)
  make_bases "$folder"
  for image in $(public_images); do
    recipe=$(basename "${image%%:*}")
    # A public image without a recipe cannot be had here; the checks leave its service out.
    [ ! -d "$recipes/$recipe" ] || make_stand_in "$image" "$recipe" "$folder/$recipe"
  done
  rm -rf "$folder"
  # Those that were made before of other recipes.
  docker image prune --force >/dev/null
}

# make_stand_in IMAGE RECIPE CONTEXT
make_stand_in() {
  local image=$1 recipe=$2 context=$3 version
  version=$(cd "$recipes/$recipe" && find . -type f | sort | xargs sha256sum | sha256sum | cut -c1-12)
  [ "$(recipe_of "$image")" != "$version" ] || return 0
  say "building the stand-in of $image"
  cp -r "$recipes/$recipe" "$context"
  if declare -F "files_of_$recipe" >/dev/null; then "files_of_$recipe" "$context"; fi
  docker build --quiet --network host --label recipe="$version" --tag "$image" "$context" >/dev/null \
    || die "could not build the stand-in of $image"
  rm -rf "$context"
}

files_of_kafka() {
  install_kafka
  mkdir "$1/libs"
  # shellcheck disable=SC2046 # One path a line, without blanks.
  cp $(kafka_jars) "$1/libs"
  # The tools for the console, which the tests' broker does not need.
  mvn --quiet --batch-mode --no-transfer-progress dependency:copy -Dartifact=org.apache.kafka:kafka-tools:4.1.1 \
    -DoutputDirectory="$1/libs" >&2 || die "could not fetch Kafka's tools with Maven"
  has_hash "$1/libs/kafka-tools-4.1.1.jar" "$kafka_tools_sha256" || die "kafka-tools-4.1.1.jar has a wrong hash"
}

files_of_mongo() {
  install_mongodb
  cp -r "$mongodb/mongod" "$mongodb/lib" "$1"
  have npm || need_packages npm
  # npm checks every package against the hash in the committed lock file, and runs no script of a package.
  npm ci --prefix "$1" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error >&2 \
    || die "could not fetch the MongoDB shell with npm"
}
