"""Measures how much the costly rules of one tenant delay the alerts of another.

One tenant has as many rules as it may, each as costly as possible, and sends frames with 192 detections. Another tenant sends
one detection at a time and waits for its alert. Fails if an alert is missing.

    costly-rules.py SIGHTLINE FOLDER FIRST_FREE_PORT
"""

import http.server
import json
import os
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib

DETECTIONS = 192
# 512 bytes, the longest text of an attribute.
TEXT = "\U0001f697" * 128
FRAMES = 40
PASSWORD = "lamp ostrich kettle"
START_SECONDS = 60
ALERT_SECONDS = 120

program, folder, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
api = f"http://127.0.0.1:{port}"


class Detector(http.server.BaseHTTPRequestHandler):
    """Gives every image the same detections."""

    body = json.dumps({"detections": [{"label": "person", "confidence": 0.9, "make": TEXT, "model": TEXT}] * DETECTIONS}).encode()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def send(path, content, content_type, token=None):
    request = urllib.request.Request(api + path, data=content, method="POST", headers={"Content-Type": content_type})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def send_json(path, body, token=None):
    return send(path, json.dumps(body).encode(), "application/json", token)


def sign_up(name):
    email = f"{name}@example.org"
    status, answer = send_json("/v1/users", {"email": email, "password": PASSWORD})
    if status != 201:
        sys.exit(f"no user {name}: {status} {answer}")
    form = urllib.parse.urlencode({"grant_type": "password", "username": email, "password": PASSWORD})
    return send("/v1/token", form.encode(), "application/x-www-form-urlencoded")[1]["access_token"]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(number):
    """An image of 64 x 64 pixels; each number gives another one."""
    row = b"\0" + bytes((x + number) % 256 for x in range(64 * 3))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 64)) + chunk(b"IEND", b"")


def create_costly_rules(token):
    """Creates rules until the tenant's budget is used up."""
    for number in range(1_000):
        condition = " || ".join(["make != model"] * 80)
        status, answer = send_json("/v1/rules", {"name": f"costly-{number}", "condition": condition}, token)
        if status != 201:
            if number == 0:
                sys.exit(f"no costly rule: {status} {answer}")
            return number, answer["code"]
    sys.exit("a thousand costly rules were accepted")


def read_alerts(token, seen, opened):
    request = urllib.request.Request(f"{api}/v1/alerts", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=600) as stream:
        for line in stream:
            # The first event has the position of the stream.
            if line.startswith(b"id:"):
                opened.set()
            if line.startswith(b"data:") and b"frame_id" in line:
                seen.setdefault(json.loads(line[5:])["frame_id"], time.monotonic())


def measure(title, token, seen, count=30):
    sent = {}
    for _ in range(count):
        began = time.monotonic()
        status, answer = send_json("/v1/detections", {"label": "face"}, token)
        if status >= 300:
            sys.exit(f"a detection was refused: {status} {answer}")
        sent[answer["frame_id"]] = began
        time.sleep(0.2)
    end = time.monotonic() + ALERT_SECONDS
    while time.monotonic() < end and not sent.keys() <= seen.keys():
        time.sleep(0.05)
    delays = sorted(seen[frame] - began for frame, began in sent.items() if frame in seen)
    if len(delays) < count:
        sys.exit(f"{title}: {len(delays)} of {count} alerts arrived within {ALERT_SECONDS} s")
    print(f"{title}: {count} of {count} alerts, median {statistics.median(delays) * 1e3:.0f} ms, worst {delays[-1] * 1e3:.0f} ms")


def send_frames(token, accepted):
    for number in range(FRAMES):
        if send("/v1/frames", png(number), "image/png", token)[0] < 300:
            accepted.append(number)
        time.sleep(0.1)


def wait_for_rules(created):
    """Waits until the indexer evaluates the rules, which it reads once a second."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with urllib.request.urlopen(f"http://127.0.0.1:{port + 1}/metrics", timeout=5) as metrics:
            counts = [line.split()[1] for line in metrics.read().decode().splitlines() if line.startswith("sightline_indexer_rules ")]
        # The built-in ones are counted, too.
        if counts and float(counts[0]) > created:
            return
        time.sleep(0.1)
    sys.exit("the indexer does not evaluate the rules")


def start(detector_port):
    models = os.path.join(folder, "models.yaml")
    with open(models, "w", encoding="utf-8") as file:
        json.dump(
            {
                "detectors": {"face": ["costly"]},
                "models": [
                    {
                        "name": "costly",
                        "task": "face",
                        "licence": "proprietary",
                        "commercial": True,
                        "input": "image",
                        "output": "faces",
                        "engine": {"kind": "http", "url": f"http://127.0.0.1:{detector_port}/detect"},
                    }
                ],
            },
            file,
        )
    options = ["--data-dir", f"{folder}/data", "--http-addr", f"127.0.0.1:{port}", "--admin-addr", f"127.0.0.1:{port + 1}", "--grpc-addr", "off"]
    with open(f"{folder}/log", "w", encoding="utf-8") as log:
        return subprocess.Popen([program, "up", *options], env={**os.environ, "SIGHTLINE_MODELS_FILE": models}, stdout=log, stderr=log)


def wait_until_ready(process):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    with open(f"{folder}/log", encoding="utf-8") as log:
        sys.exit(f"sightline up did not become ready:\n{log.read()}")


def main():
    detector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Detector)
    threading.Thread(target=detector.serve_forever, daemon=True).start()
    process = start(detector.server_port)
    try:
        wait_until_ready(process)
        costly, other = sign_up("costly"), sign_up("other")
        rules, code = create_costly_rules(costly)
        print(f"{rules} costly rules accepted, the next one refused: {code}")
        seen, opened, accepted = {}, threading.Event(), []
        threading.Thread(target=read_alerts, args=(other, seen, opened), daemon=True).start()
        if not opened.wait(START_SECONDS):
            sys.exit("the stream of alerts did not open")
        wait_for_rules(rules)
        measure("without frames", other, seen)
        sender = threading.Thread(target=send_frames, args=(costly, accepted))
        sender.start()
        measure("with frames", other, seen)
        sender.join()
        if len(accepted) < FRAMES / 2:
            sys.exit(f"only {len(accepted)} of {FRAMES} frames were accepted")
        print(f"{len(accepted)} frames with {DETECTIONS} detections were accepted meanwhile")
    finally:
        process.terminate()
        process.wait(60)


main()
