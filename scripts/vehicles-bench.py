"""The reference flow: vehicles from Kafka into MongoDB, an alert for each suspicious one. `sightline up` beside a plain asyncio program.

    vehicles-bench.py SIGHTLINE PEER FOLDER FIRST_FREE_PORT [--json] [--quick]

SIGHTLINE_KAFKA_BROKERS and SIGHTLINE_MONGODB_URI name the servers. The two take turns; each turn has topics and a database of its own.
A system is started, then the vehicles are sent, and its processor time is read when all are stored. Fails if a count differs from what is
on the topic, or an alert is missing or repeated.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from pymongo import MongoClient

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "docs/bench"))
from report import Report, cpu_seconds  # noqa: E402
from up import SightlineUp, fail, version_of, wait_for  # noqa: E402

sightline, peer, folder, port = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
brokers, mongodb = os.environ["SIGHTLINE_KAFKA_BROKERS"], os.environ["SIGHTLINE_MONGODB_URI"]
quick = "--quick" in sys.argv
VEHICLES, ROUNDS = (4_000, 1) if quick else (20_000, 5)
# The highest of the demo.
RATE = 1_000
FIELDS = ("make", "model", "category")


async def read_topic(topic):
    """The messages of a topic that nobody writes any more."""
    async with AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        messages = []
        while len(messages) < sum(ends.values()):
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                messages += [message.value for message in batch]
        return messages


def messages_of(topic):
    return [json.loads(value) for value in asyncio.run(read_topic(topic))]


def is_suspicious(vehicle):
    return vehicle["category"].lower() == "suv"


class Turn:
    """Topics and a database of their own, and the vehicles on the topic."""

    count = 0

    def __init__(self):
        Turn.count += 1
        self.name = f"turn{Turn.count}"
        self.topic, self.alerts = f"{self.name}.results", f"{self.name}.alerts"
        topics = (root / "topics.yaml").read_text().replace("name: sightline.", f"name: {self.name}.")
        self.topics_file = folder / f"{self.name}.yaml"
        self.topics_file.write_text(topics)
        self.environment = {
            **os.environ,
            "SIGHTLINE_TOPICS_FILE": str(self.topics_file),
            "SIGHTLINE_MONGODB_DATABASE": self.name,
        }
        self.database = MongoClient(mongodb)[self.name]
        subprocess.run([sightline, "topics", "apply"], env=self.environment, stdout=subprocess.DEVNULL, check=True)

    def send_live(self):
        command = [sightline, "demo", "vehicles", "--rate", str(RATE), "--count", str(VEHICLES)]
        subprocess.run(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def send_at_once(self, lines):
        command = [root / "scripts/foreign-producer", brokers, self.topic]
        subprocess.run(command, input=lines, stdout=subprocess.DEVNULL, check=True)

    def vehicles(self):
        """What is on the topic, with the names of the fields in lower case."""
        sent = [{name.lower(): value for name, value in message.items()} for message in messages_of(self.topic)]
        if len(sent) != VEHICLES:
            fail(f"{len(sent)} of {VEHICLES} vehicles are on the topic")
        return sent

    def end(self):
        self.database.client.drop_database(self.name)
        self.database.client.close()


class Up(SightlineUp):
    """With the servers of the turn."""

    collection = "detections"

    def __init__(self, turn):
        super().__init__(sightline, folder / turn.name, port, turn.environment)

    def check(self, vehicles):
        for field in FIELDS:
            counted = {item["key"]: item["count"] for item in self.get(f"/v1/stats?group_by={field}")["items"]}
            if counted != Counter(vehicle[field] for vehicle in vehicles):
                fail(f"/v1/stats?group_by={field} differs from the vehicles on the topic")
        if self.get("/stats") != Counter(vehicle["make"] for vehicle in vehicles):
            fail("/stats differs from the vehicles on the topic")
        suspicious = Counter(found["frame_id"] for found in self.list("/v1/detections") if is_suspicious(found))
        alerts = Counter(alert["frame_id"] for alert in self.list("/v1/alerts/history"))
        if suspicious.total() != sum(map(is_suspicious, vehicles)) or alerts != suspicious or max(alerts.values()) > 1:
            fail(f"{suspicious.total()} suspicious vehicles, {alerts.total()} alerts about {len(alerts)} of them")
        return alerts


class Subscriber:
    """Reads the event stream of a system in the background."""

    def __init__(self, up):
        self.delivered, opened = Counter(), threading.Event()
        self.thread = threading.Thread(target=self.read, args=(up, opened), daemon=True)
        self.thread.start()
        if not opened.wait(30):
            fail("the event stream did not open")

    def read(self, up, opened):
        with up.open("/v1/alerts") as stream:
            for line in stream:
                if line.startswith(b"id:"):
                    opened.set()
                if line.startswith(b"data:") and b"frame_id" in line:
                    self.delivered[json.loads(line[5:])["frame_id"]] += 1

    def check(self, alerts):
        wait_for("all alerts are delivered", lambda: self.delivered.total() >= alerts.total())
        if self.delivered != alerts:
            fail(f"{self.delivered.total()} alerts were delivered, {alerts.total()} were raised")


class Peer:
    """The plain program."""

    collection = "vehicles"

    def __init__(self, turn):
        self.turn = turn
        settings = {
            "PEER_KAFKA_BROKERS": brokers, "PEER_TOPIC": turn.topic, "PEER_ALERTS": turn.alerts,
            "PEER_MONGODB_URI": mongodb, "PEER_DATABASE": turn.name,
        }  # fmt: skip
        self.process = subprocess.Popen([sys.executable, peer], env={**os.environ, **settings}, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            fail("the peer did not start")

    def check(self, vehicles):
        stored = Counter(document["make"] for document in self.turn.database[self.collection].find({}, {"make": 1}))
        # It raises the alert after the last insert.
        self.stop()
        alerts = Counter(alert["_id"] for alert in messages_of(self.turn.alerts))
        expected = sum(map(is_suspicious, vehicles))
        if stored != Counter(vehicle["make"] for vehicle in vehicles) or len(alerts) != expected or alerts.total() != expected:
            fail(f"the peer stored {stored.total()} vehicles and raised {alerts.total()} alerts, {expected} were expected")
        return alerts

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def measure(system, send, subscribe=False):
    """One turn: detections per second of processor time, that processor time, and the seconds until all were stored."""
    turn = Turn()
    running = system(turn)
    try:
        subscriber = Subscriber(running) if subscribe else None
        before, began = cpu_seconds(running.process.pid), time.monotonic()
        send(turn)
        collection = turn.database[running.collection]
        wait_for("all vehicles are stored", lambda: collection.estimated_document_count() >= VEHICLES)
        seconds = time.monotonic() - began
        # Alerts of the last ones, and offsets.
        time.sleep(1)
        used = cpu_seconds(running.process.pid) - before
        vehicles = turn.vehicles()
        alerts = running.check(vehicles)
        if subscriber:
            subscriber.check(alerts)
        running.stop()
    finally:
        running.kill()
    turn.end()
    name = system.__name__.lower()
    print(f"{name}: {VEHICLES} vehicles, {alerts.total()} alerts, {used:.2f} s of processor time, {seconds:.1f} s", file=sys.stderr)
    return VEHICLES / used, used, seconds, vehicles


def compare(report, title, send, rounds):
    """Alternating turns; returns the vehicles of the first one."""
    turns = [(measure(Up, send), measure(Peer, send)) for _ in range(rounds)]
    ratios = [up[0] / other[0] for up, other in turns]
    report.rounds(f"{title}: detections per CPU-second, of the peer's", ratios, "x", at_least=20)
    for name, index in (("sightline up", 0), ("peer", 1)):
        report.rounds(f"{title}: {name}", [turn[index][0] for turn in turns], "detections/CPU-s")
        report.figure(f"{title}: {name}, all stored after", sorted(turn[index][2] for turn in turns)[rounds // 2], "s")
    return turns[0][0][3]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report("vehicles", version_of(sightline))
    report.setting("vehicles", VEHICLES)
    report.setting("rounds", ROUNDS)
    # Before the comparison, with a subscriber, who also costs processor time.
    sent = measure(Up, Turn.send_live, subscribe=True)[3]
    lines = "".join(json.dumps({name.title(): value for name, value in vehicle.items()}) + "\n" for vehicle in sent).encode()
    compare(report, "at once", lambda turn: turn.send_at_once(lines), ROUNDS)
    compare(report, f"{RATE} a second", Turn.send_live, 1 if quick else 3)
    suspicious = sum(map(is_suspicious, sent))
    report.note(
        "In each turn /stats and /v1/stats equal the vehicles on the topic, and each suspicious one has one alert "
        f"({suspicious} of the first {VEHICLES}); in a turn before, a subscriber got each alert once."
    )
    report.print("--json" in sys.argv)


main()
