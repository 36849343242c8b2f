#!/usr/bin/env bash
# Runs the tool that this file is called after; the image has it under each name.
set -euo pipefail
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx512M}
case $(basename "$0" .sh) in
  kafka-console-consumer) class=consumer.ConsoleConsumer ;;
  kafka-console-producer) class=ConsoleProducer ;;
  kafka-topics) class=TopicCommand ;;
esac
exec "$(dirname "$0")/kafka-run-class.sh" "org.apache.kafka.tools.$class" "$@"
