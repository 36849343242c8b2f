#!/usr/bin/env bash
# Inside an empty engine without a network, started by scripts/release-check: verifies a release and installs its bundle.
#
#   scripts/docker-engine run scripts/bundle/check.sh RELEASE PUBLIC_KEY OTHER_PRIVATE_KEY
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
source "$root/scripts/release-install.sh"
source "$root/scripts/compose/lib.sh"
install_release_tools

release=$1 key=$2 other_key=$3
photo=$(photograph)
export photo
trap show_failure EXIT

# Not the engine's own bridges.
! route=$(ip route get 192.0.2.1 2>&1) || fail "this network has a route: $route"
[ -z "$(docker images --quiet)" ] || fail "this engine has images"

# As docs/RELEASE.md says it for the files of a release.
base64 --decode "$release/SHA256SUMS.sig" >"$work/signature"
openssl dgst -sha256 -verify "$key" -signature "$work/signature" "$release/SHA256SUMS" >/dev/null || fail "the release's signature"
(cd "$release" && sha256sum --check --quiet --strict SHA256SUMS) || fail "the release's checksums"
tar --extract --file "$release"/*-bundle.tar --directory "$work"
bundle=$(echo "$work"/sightline-*-bundle)
version=$(basename "$bundle" -bundle)
version=${version#sightline-}
ok "the release is verified with openssl and sha256sum"

# refused_bundle TEXT: with this one line, before an image is loaded.
refused_bundle() {
  ! "$bundle/install" "${2:-$key}" >"$work/refused.log" 2>&1 || fail "the bundle was installed, although: $1"
  grep --quiet -- "^error: $1" "$work/refused.log" || fail "not refused with '$1': $(cat "$work/refused.log")"
  [ "$(wc -l <"$work/refused.log")" = 1 ] || fail "not refused with one line: $(cat "$work/refused.log")"
  [ -z "$(docker images --quiet)" ] || fail "images were loaded, although: $1"
}

# flip FILE: changes one byte in the middle; the second time it is the old one again.
flip() {
  python3 - "$bundle/$1" <<'PYTHON'
import os, sys
with open(sys.argv[1], "r+b") as file:
    middle = os.path.getsize(sys.argv[1]) // 2
    file.seek(middle)
    byte = file.read(1)[0]
    file.seek(middle)
    file.write(bytes([byte ^ 1]))
PYTHON
}

for file in images/servers.tar.gz docker/compose.yaml models/models.NOTICE; do
  flip "$file"
  refused_bundle "changed: $file\$"
  flip "$file"
done
mv "$bundle/RELEASE" "$work/RELEASE"
refused_bundle 'missing: RELEASE$'
mv "$work/RELEASE" "$bundle/RELEASE"
echo 'services: {}' >"$bundle/compose.override.yaml"
refused_bundle 'not in SHA256SUMS: compose.override.yaml$'
rm "$bundle/compose.override.yaml"
ok "a changed byte, a missing file and an added file are refused"

# Who changes a file and its checksum needs the key too.
cp -p "$bundle/SHA256SUMS" "$bundle/SHA256SUMS.sig" "$bundle/docker/compose.yaml" "$work"
echo '# changed' >>"$bundle/docker/compose.yaml"
sed -i "s|^[0-9a-f]*  docker/compose.yaml\$|$(sha256sum "$bundle/docker/compose.yaml" | cut -c1-64)  docker/compose.yaml|" "$bundle/SHA256SUMS"
refused_bundle 'the signature of SHA256SUMS is not of the key'
cosign sign-blob --yes --tlog-upload=false --key "$other_key" --output-signature "$bundle/SHA256SUMS.sig" "$bundle/SHA256SUMS" 2>/dev/null
refused_bundle 'the signature of SHA256SUMS is not of the key'
cp "${other_key%.key}.pub" "$bundle/sightline.pub"
refused_bundle 'the public key must not come from this bundle' "$bundle/sightline.pub"
rm "$bundle/sightline.pub"
cp -p "$work/compose.yaml" "$bundle/docker/"
cp -p "$work/SHA256SUMS" "$bundle/"
refused_bundle 'the signature of SHA256SUMS is not of the key'
cp -p "$work/SHA256SUMS.sig" "$bundle/"
ok "checksums and signatures of somebody else are refused"

"$bundle/install" "$key" 2>&1 | tee "$work/installed" >&2
docker images --format '{{.Repository}}:{{.Tag}}' | sort >"$work/images"
sort "$bundle/images/images.txt" | cmp - "$work/images" || fail "the engine has other images than the bundle"
# With the camera program, which .env.prod has as a comment.
(cd "$bundle" && env --unset=SIGHTLINE_IMAGE --unset=SIGHTLINE_CAMERA_IMAGE docker compose --env-file .env.prod --file docker/compose.yaml \
  --file docker/compose.tls.yaml --file docker/compose.cameras.yaml config --images) | sort -u >"$work/wanted"
[ -s "$work/wanted" ] || fail ".env.prod names no image"
[ -z "$(comm -23 "$work/wanted" "$work/images")" ] || fail ".env.prod wants other images: $(comm -23 "$work/wanted" "$work/images")"
ok "the bundle is installed: $(wc -l <"$work/images") images, among them those of .env.prod"

# The parts `production` and `cameras` as they are, on the bundle's files, images and programs.
tar --extract --file "$bundle"/programs/*.tar.gz --directory "$work"
sightline=$(echo "$work/sightline-$version"-linux-*/bin/sightline)
export sightline SIGHTLINE_IMAGE=sightline:$version SIGHTLINE_CAMERA_IMAGE=sightline-camera:$version
[ "$("$sightline" --version)" = "sightline $version" ] || fail "the program is $("$sightline" --version)"
[ "$("$sightline-camera" --version)" = "camera $version" ] || fail "the camera program is $("$sightline-camera" --version)"
parts=$root/scripts/compose
root=$bundle docker=$bundle/docker
# scripts/compose-check has the limit; here the engine has just got its images, and a machine that makes a release is not quiet.
# shellcheck disable=SC2034 # production.sh reads it.
any_time=yes
# shellcheck source=scripts/compose/production.sh
source "$parts/production.sh"
# shellcheck source=scripts/compose/cameras.sh
source "$parts/cameras.sh"
compose down --volumes --timeout 2
ok "the stack ran from the bundle, without a route"
