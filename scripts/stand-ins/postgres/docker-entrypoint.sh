#!/usr/bin/env bash
# As in the public image: an empty data folder is initialised, a temporary server that listens on its socket only runs the files of
# /docker-entrypoint-initdb.d, and then the server starts.
set -euo pipefail

# from_file NAME: the variable NAME, or the content of the file that NAME_FILE names.
from_file() {
  local file=${1}_FILE
  if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-}"; fi
}

initialise() {
  local user=${POSTGRES_USER:-postgres} method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256} database password file
  database=${POSTGRES_DB:-$user}
  password=$(from_file POSTGRES_PASSWORD)
  if [ -z "$password" ] && [ "$method" != trust ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    exit 1
  fi
  # shellcheck disable=SC2086 # Several options in one variable.
  initdb --pgdata "$PGDATA" --username "$user" --pwfile <(printf '%s\n' "$password") ${POSTGRES_INITDB_ARGS:-}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses=''" --wait start
  [ "$database" = postgres ] \
    || psql --username "$user" --no-psqlrc --dbname postgres --set db="$database" <<<'CREATE DATABASE :"db";'
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sql) psql --username "$user" --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$database" --file "$file" ;;
      *.sh)
        # shellcheck source=/dev/null
        . "$file" ;;
    esac
  done
  pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
}

if [ "$1" = postgres ]; then
  if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec gosu postgres "$0" "$@"
  fi
  [ -s "$PGDATA/PG_VERSION" ] || initialise
fi
exec "$@"
