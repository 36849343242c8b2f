#!/usr/bin/env bash
# Runs a class of Kafka's jars.
# shellcheck disable=SC2086 # Several options in one variable, as Apache's script has them.
exec java ${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G} -XX:+UseG1GC -Dlog4j2.level="${KAFKA_LOG_LEVEL:-ERROR}" ${KAFKA_OPTS:-} -cp '/opt/kafka/libs/*' "$@"
