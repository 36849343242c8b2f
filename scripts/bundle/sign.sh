# Sourced by scripts/release: checksums and signatures. cosign signs; openssl verifies, because it is also where the bundle is installed.
# The caller has $work.
# shellcheck shell=bash

# sign_file FILE: writes FILE.sig. Without a transparency log, which is a server on the internet: who has the public key needs none.
sign_file() {
  cosign sign-blob --yes --tlog-upload=false --key "$RELEASE_KEY" --output-signature "$1.sig" "$1" 2>"$work/cosign.log" \
    || { cat "$work/cosign.log" >&2; die "could not sign $1 with RELEASE_KEY=$RELEASE_KEY: is COSIGN_PASSWORD its password?"; }
  verify_file "$1" "$work/key.pub" || die "the signature of $1 does not fit its key"
}

# verify_file FILE PUBLIC_KEY
verify_file() {
  base64 --decode "$1.sig" >"$work/signature" && openssl dgst -sha256 -verify "$2" -signature "$work/signature" "$1" >/dev/null 2>&1
}

# Before anything is built: the key can be read, and signs.
check_key() {
  [ -n "${RELEASE_KEY:-}" ] || die "RELEASE_KEY is not set: it is the file of cosign's private key (cosign generate-key-pair makes one, once)"
  [ -r "$RELEASE_KEY" ] || die "RELEASE_KEY=$RELEASE_KEY cannot be read"
  # Empty, it would be asked for.
  export COSIGN_PASSWORD=${COSIGN_PASSWORD:-}
  cosign public-key --key "$RELEASE_KEY" --outfile "$work/key.pub" >/dev/null 2>"$work/cosign.log" \
    || { tail -n 1 "$work/cosign.log" >&2; die "RELEASE_KEY=$RELEASE_KEY is no key, or COSIGN_PASSWORD is not its password"; }
  echo probe >"$work/probe"
  sign_file "$work/probe"
}

# sign FOLDER: a checksum of each file in it, and the signature of their list.
sign() {
  (cd "$1" && find . -type f ! -name 'SHA256SUMS*' -printf '%P\0' | sort -z | xargs -0 sha256sum) >"$work/SHA256SUMS"
  mv "$work/SHA256SUMS" "$1/SHA256SUMS"
  sign_file "$1/SHA256SUMS"
  (cd "$1" && sha256sum --check --quiet --strict SHA256SUMS) || die "the checksums of $1 are wrong"
}
