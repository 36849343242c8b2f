"""A Kafka client. Sends each line of standard input, KEY<tab>VALUE, to the first topic. Prints each message of the other topics, from their
beginning, as a line of JSON: {topic, key, headers, value}. It runs until it is ended, or a message is not accepted.

  scripts/clients/kafka_client.py BROKERS TOPIC TOPIC...      needs kafka-python
"""

import json
import os
import sys
import threading
import traceback

from kafka import KafkaConsumer, KafkaProducer


def send(brokers, topic):
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all", retries=5)
    for line in sys.stdin:
        key, value = line.rstrip("\n").split("\t")
        producer.send(topic, value.encode(), key.encode()).get(timeout=60)


def send_or_end(*arguments):
    try:
        send(*arguments)
    except BaseException:
        traceback.print_exc()
        # An exception would end this thread only.
        os._exit(1)


def text(data):
    return (data or b"").decode()


brokers, to, *topics = sys.argv[1:]
threading.Thread(target=send_or_end, args=(brokers, to), daemon=True).start()
for message in KafkaConsumer(*topics, bootstrap_servers=brokers, group_id="client-python", auto_offset_reset="earliest"):
    headers = {name: text(value) for name, value in message.headers}
    read = {"topic": message.topic, "key": text(message.key), "headers": headers, "value": text(message.value)}
    print(json.dumps(read), flush=True)
