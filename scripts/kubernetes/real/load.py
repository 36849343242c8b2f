"""Clients of the API that never repeat a request, and write down what became of each one.

Usage: load.py SERVER TOKEN IMAGE OUT

Runs until SIGTERM. OUT gets a JSON line for each request: when it began, what it was, whether its connection was new or kept, and
the frame it was accepted as, or why it was refused. Half of the clients open a connection for each request. The others keep one, as
real clients do: they open another after `Connection: close`, and also when they see before a request that the server has closed it.
"""

import http.client
import json
import random
import select
import signal
import sys
import threading
import time
import uuid

SERVER, TOKEN, IMAGE, OUT = sys.argv[1:]
TIMEOUT = 30
STREAM = "gate"

stop = threading.Event()
lock = threading.Lock()


class Client(threading.Thread):
    """One client: `request` of its kind, every `pause` seconds on average."""

    def __init__(self, kind, kept, pause):
        super().__init__()
        self.kind, self.kept, self.pause = kind, kept, pause
        self.connection, self.used, self.last = None, 0, time.time()

    def run(self):
        # Not all at the same moment.
        stop.wait(random.random() * self.pause)
        while not stop.is_set():
            self.write(self.request())
            stop.wait(self.pause * (0.5 + random.random()))

    def write(self, line):
        with lock:
            out.write(json.dumps(line) + "\n")
            out.flush()

    def request(self):
        began = time.time()
        line = {"at": began, "kind": self.kind, "connection": "kept" if self.kept else "new"}
        self.phase = "connecting"
        try:
            self.connect()
            line["requests_before"], line["idle"] = self.used, round(began - self.last, 3) if self.used else 0
            line |= getattr(self, self.kind)()
            self.used, self.last = self.used + 1, time.time()
        except (OSError, http.client.HTTPException) as error:
            line["refused"] = f"{type(error).__name__} while {self.phase}: {error}"
            self.close()
        if not self.kept:
            self.close()
        return line | {"took": round(time.time() - began, 3)}

    def connect(self):
        if self.connection and (self.connection.sock is None or closed_by_server(self.connection.sock)):
            self.close()
        if self.connection is None:
            self.connection = http.client.HTTPConnection(SERVER, timeout=TIMEOUT)
            self.connection.connect()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection, self.used = None, 0

    def send(self, method, path, body=None, headers=None):
        self.phase = "sending"
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": str(uuid.uuid4())} | (headers or {})
        self.connection.request(method, path, body, headers)
        self.phase = "waiting for the response"
        response = self.connection.getresponse()
        self.phase = "reading the response"
        return response

    def accepted(self, response):
        text = response.read()
        if response.status not in (200, 202):
            return {"refused": f"status {response.status}: {text[:300].decode(errors='replace')}"}
        return {"frame": json.loads(text).get("frame_id")}

    def detection(self):
        body = json.dumps({"stream": STREAM, "label": "face"})
        return self.accepted(self.send("POST", "/v1/detections", body, {"Content-Type": "application/json"}))

    def image(self):
        return self.accepted(self.send("POST", f"/v1/frames?stream={STREAM}", image, {"Content-Type": "image/png"}))

    def list(self):
        return self.accepted(self.send("GET", "/v1/detections?limit=1"))

    def alerts(self):
        """Opens the stream of alerts, reads to its first event, and leaves."""
        response = self.send("GET", "/v1/alerts")
        if response.status != 200:
            return self.accepted(response)
        while line := response.readline():
            if line.startswith(b"id:"):
                break
        self.close()
        return {} if line else {"refused": "the stream of alerts ended before its first event"}


def closed_by_server(socket):
    return bool(select.select([socket], [], [], 0)[0])


def clients():
    for kept in (False, True):
        for _ in range(8):
            yield Client("detection", kept, 0.15)
        yield Client("image", kept, 1)
        yield Client("list", kept, 0.5)
    yield Client("alerts", False, 0.5)
    # These keep a connection for longer than a pod takes to leave its Service.
    for pause in (4, 6, 8):
        for _ in range(4):
            yield Client("detection", True, pause)


if __name__ == "__main__":
    with open(IMAGE, "rb") as file:
        image = file.read()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(OUT, "w", encoding="utf-8") as out:
        running = list(clients())
        for client in running:
            client.start()
        for client in running:
            client.join()
