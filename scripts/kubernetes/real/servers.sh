# Sourced by scripts/kubernetes/real/run.sh: the servers outside the cluster, as stand-ins of the public images. They listen on the
# address of the node.
# shellcheck shell=bash disable=SC2154 # run.sh and node.sh define the variables.

public_image() { docker image ls --format '{{.Repository}}:{{.Tag}}' "$1" | head -n 1; }

# server NAME IMAGE ARGUMENT…: arguments before `--` are of docker, those after it of the server.
server() {
  local name=$1 image options=()
  image=$(public_image "$2")
  [ -n "$image" ] || die "there is no image $2: run scripts/docker-engine images"
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# = 0 ] || shift
  docker run --detach --network host --name "$name" "${options[@]}" "$image" "$@" >/dev/null || die "$name does not start"
}

start_servers() {
  database_password=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
  server kafka apache/kafka --env CLUSTER_ID=c2lnaHRsaW5lLWJyb2tlcg --env KAFKA_NODE_ID=1 --env KAFKA_PROCESS_ROLES=broker,controller \
    --env KAFKA_CONTROLLER_QUORUM_VOTERS="1@$node_address:9093" --env KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER \
    --env KAFKA_LISTENERS="PLAINTEXT://$node_address:9092,CONTROLLER://$node_address:9093" \
    --env KAFKA_ADVERTISED_LISTENERS="PLAINTEXT://$node_address:9092" --env KAFKA_LOG_DIRS=/var/lib/kafka/data \
    --env KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT --env KAFKA_AUTO_CREATE_TOPICS_ENABLE=false \
    --env KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 --env KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1 \
    --env KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1 --env KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0 \
    --env KAFKA_HEAP_OPTS='-Xms256m -Xmx512m'
  server mongodb mongo -- mongod --replSet rs0 --bind_ip "127.0.0.1,$node_address" --wiredTigerCacheSizeGB 0.25
  server postgres postgres --env POSTGRES_USER=sightline --env POSTGRES_DB=sightline --env POSTGRES_PASSWORD="$database_password"
  server redis redis -- redis-server --save '' --appendonly no
  within 300 "MongoDB" initiate_mongodb
  for port in 9092 5432 6379; do within 300 "the server on port $port" answers "$port"; done
  within 300 "the tables" make_tables
}

database_url() { printf 'postgres://%s:%s@%s:5432/sightline' "$1" "$database_password" "$node_address"; }

# The tables and the roles, as docs/KUBERNETES.md makes them before the installation. The image starts its server once more when it has
# made the database, so this may need another try.
make_tables() {
  local role
  {
    cat "$root"/docker/postgres/{init,verifier,faces}.sql
    for role in verifier faces; do echo "ALTER ROLE sightline_$role PASSWORD '$database_password';"; done
  } | docker exec --interactive --env PGPASSWORD="$database_password" postgres psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 \
    --host "$node_address" --username sightline --file -
}

answers() { (: >"/dev/tcp/$node_address/$1"); }

initiate_mongodb() {
  docker exec mongodb mongosh --quiet --eval "
    try { rs.initiate({_id: 'rs0', members: [{_id: 0, host: '$node_address:27017'}]}) } catch (error) {}
    quit(db.hello().isWritablePrimary ? 0 : 1)"
}

stop_servers() { docker rm --force --volumes kafka mongodb postgres redis >/dev/null 2>&1 || true; }
