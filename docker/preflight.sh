#!/bin/sh
# Runs before everything else in compose: prints one line for each thing that is missing, and fails if there is one.
set -u
failed=0
fault() {
  echo "error: $*" >&2
  failed=1
}

for name in admin_token database_url faces_database_url faces_password mongodb_key mongodb_password mongodb_root_password mongodb_uri \
  postgres_password redis_password redis_url verifier_database_url verifier_password; do
  [ -s "/run/secrets/$name" ] || fault "the secret $name is empty: scripts/compose-secrets FOLDER creates it, where FOLDER is that of SECRETS_DIR"
done

# Other processors have no such flag.
if grep -q '^flags' /proc/cpuinfo && ! grep -q '^flags.* avx ' /proc/cpuinfo; then
  fault "this processor has no AVX, which MongoDB needs"
fi

case ${PUBLIC_URL:-http://} in
  http://* | https://*) ;;
  *) fault "PUBLIC_URL=$PUBLIC_URL must begin with https:// or http://, because it is the issuer in tokens" ;;
esac

case $LEAST_FREE_MB in
  '' | *[!0-9]*)
    fault "LEAST_FREE_MB=$LEAST_FREE_MB must be a number of MB, without a unit"
    LEAST_FREE_MB=0
    ;;
esac
free=$(df -Pm /blobs | awk 'NR == 2 {print $4}')
if [ "$free" -lt "$LEAST_FREE_MB" ]; then
  fault "the disk of Docker's volumes has $free MB free; LEAST_FREE_MB=$LEAST_FREE_MB are wanted"
fi
exit "$failed"
