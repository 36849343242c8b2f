"""The reference flow as a plain asyncio program: vehicles from Kafka into MongoDB, an alert for each suspicious one.

scripts/vehicles-bench compares `sightline up` with it. One loop, one message at a time: an awaited insert for each message, and for a
suspicious vehicle an awaited alert. It evaluates no other rule, serves no HTTP, checks no fields and survives no crash without losing or
repeating a message. Settings: PEER_KAFKA_BROKERS, PEER_TOPIC, PEER_ALERTS, PEER_MONGODB_URI, PEER_DATABASE. Prints `ready` when it reads.
"""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from motor.motor_asyncio import AsyncIOMotorClient

BROKERS = os.environ["PEER_KAFKA_BROKERS"]
SUSPICIOUS = "suv"


async def index(consumer, producer, vehicles):
    async for message in consumer:
        vehicle = json.loads(message.value)
        document = {
            "year": vehicle["Year"],
            "make": vehicle["Make"],
            "model": vehicle["Model"],
            "category": vehicle["Category"],
            "created_at": datetime.now(UTC),
        }
        await vehicles.insert_one(document)
        if document["category"].lower() == SUSPICIOUS:
            alert = {**document, "_id": str(document["_id"]), "created_at": document["created_at"].isoformat()}
            await producer.send_and_wait(os.environ["PEER_ALERTS"], json.dumps(alert).encode())


async def main():
    vehicles = AsyncIOMotorClient(os.environ["PEER_MONGODB_URI"])[os.environ["PEER_DATABASE"]]["vehicles"]
    consumer = AIOKafkaConsumer(
        os.environ["PEER_TOPIC"], bootstrap_servers=BROKERS, group_id="vehicles-peer", auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=BROKERS, acks="all")
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await consumer.start()
        await producer.start()
        while not consumer.assignment():
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        await index(consumer, producer, vehicles)
    except asyncio.CancelledError:
        pass
    finally:
        await consumer.stop()
        await producer.stop()


asyncio.run(main())
