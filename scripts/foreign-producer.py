"""Sends each line of standard input as one message; fails if the broker does not accept one."""

import sys

from kafka import KafkaProducer

brokers, topic = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=brokers, acks="all", retries=5)
sent = [producer.send(topic, line.rstrip("\n").encode()) for line in sys.stdin]
for future in sent:
    future.get(timeout=60)
print(f"sent {len(sent)} messages")
