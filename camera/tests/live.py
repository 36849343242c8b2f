#!/usr/bin/env python3
"""Live cameras that die, freeze and come back, and processes that are killed. Started by scripts/camera-check.

live.py CAMERA_PROGRAM    prints what it measured; fails if a promise is broken
"""
import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from datetime import datetime

HERE = pathlib.Path(__file__).parent
PASSWORD = "lamp-ostrich"
FPS = 5
BEGUN = time.monotonic()
frames, states, lock = {}, {}, threading.Lock()


class Server(http.server.BaseHTTPRequestHandler):
    """What the camera program needs of a server: accepts frames and states."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers["content-length"]))

    def do_POST(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query))
        assert self.body()[:2] == b"\xff\xd8"
        with lock:
            captured = datetime.fromisoformat(query["captured_at"].replace("Z", "+00:00"))
            frames.setdefault(query["stream"], []).append((time.time(), captured.timestamp()))
        self.answer(202, b'{"frame_id": "of the test"}')

    def do_PUT(self):
        with lock:
            states.setdefault(self.path.split("/")[3], []).append(json.loads(self.body()))
        self.answer(204)

    def log_message(self, *arguments):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Camera:
    """An RTSP server."""

    def __init__(self, *arguments):
        self.port, self.arguments = free_port(), arguments
        self.start()

    def start(self):
        command = [str(HERE / "rtsp-server.py"), str(self.port), *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_for(what, condition, limit=60.0):
    end = time.time() + limit
    while time.time() < end:
        if (value := condition()) is not None:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {limit:.0f} s")


def frame_after(stream, moment):
    with lock:
        return next((at for at, _ in frames.get(stream, []) if at > moment), None)


def seconds_until_frames(stream, moment, what):
    took = wait_for(what, lambda: frame_after(stream, moment)) - moment
    print(f"{what}: frames again after {took:.1f} s")
    assert took < 10, what


def main():
    # So that everything below is ended and deleted also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as cameras:
        run(sys.argv[1], server.server_port, pathlib.Path(folder), cameras)


def run(camera, port, folder, cameras):
    def start(*arguments):
        started = Camera(*arguments)
        cameras.callback(started.kill)
        return started

    first, second, digest = start("--auth", "basic"), start(), start("--auth", "digest")
    sources = [
        {"stream": "first", "url": f"rtsp://127.0.0.1:{first.port}/live", "user": "ann", "password": PASSWORD},
        {"stream": "second", "url": f"rtsp://127.0.0.1:{second.port}/live"},
        {"stream": "digest", "url": f"rtsp://ann:{PASSWORD}@127.0.0.1:{digest.port}/live"},
        {"stream": "wrong", "url": f"rtsp://ann:{PASSWORD}x@127.0.0.1:{digest.port}/live"},
    ]
    for source in sources:
        source.update(fps=FPS, motion_gate=False)
    config, log = folder / "cameras.yaml", folder / "log"
    config.write_text(json.dumps({"cameras": sources}))
    environment = {**os.environ, "SIGHTLINE_TOKEN": "token-of-the-test", "SIGHTLINE_ADMIN_ADDR": "off"}
    environment.update(SIGHTLINE_SERVER=f"http://127.0.0.1:{port}", SIGHTLINE_LOG="debug,hyper_util=off,reqwest=off")
    with log.open("w") as output:
        program = subprocess.Popen([camera, "--config", str(config)], env=environment, stdout=output, stderr=output)
    try:
        check(program, first, log)
    except BaseException:
        print(log.read_text()[-3000:])
        raise
    finally:
        processes = children(program.pid)
        program.terminate()
        try:
            program.wait(20)
        finally:
            program.kill()
    assert len(processes) == 4 and not any(pathlib.Path(f"/proc/{process}").exists() for process in processes), f"left behind: {processes}"
    # The last report comes after the last frame. One frame may have arrived without an answer.
    told, arrived = states["second"][-1]["frames_sent"], len(frames["second"])
    assert arrived - 1 <= told <= arrived, f"the last report has {told} frames of {arrived}"
    print(f"all processes ended with the program; passed in {time.monotonic() - BEGUN:.0f} s")


def check(program, first, log):
    for stream in ("first", "second", "digest"):
        wait_for(f"frames of {stream}", lambda: frame_after(stream, 0))
    print("Basic and Digest: frames arrive")
    begun = time.time()

    first.kill()
    time.sleep(8)
    first.start()
    seconds_until_frames("first", time.time(), "killed for 8 s")

    first.process.send_signal(signal.SIGSTOP)
    time.sleep(25)
    first.process.send_signal(signal.SIGCONT)
    seconds_until_frames("first", time.time(), "frozen for 25 s")

    for _ in range(10):
        victim = wait_for("a process of the first camera", lambda: process_of_first(program.pid))
        os.kill(victim, signal.SIGKILL)
        time.sleep(1)
    seconds_until_frames("first", time.time(), "process killed ten times")

    with lock:
        times = [captured for at, captured in frames["second"] if at > begun]
        everything = {stream: [captured for _, captured in seen] for stream, seen in frames.items()}
    gaps = [after - before for before, after in zip(times, times[1:])]
    print(f"second camera meanwhile: {len(times)} frames in {times[-1] - times[0]:.0f} s, longest gap {max(gaps):.2f} s")
    assert max(gaps) < 1.5 / FPS, "the second camera missed a frame"
    for stream, seen in everything.items():
        assert all(before < after for before, after in zip(seen, seen[1:])), f"{stream} goes backwards"

    text = log.read_text()
    tries = text.count("the camera refuses the user name and password")
    print(f"wrong password: {tries} tries in {time.time() - begun:.0f} s")
    assert 1 <= tries <= 1 + (time.time() - begun) // 60
    shown = subprocess.run("cat /proc/[0-9]*/cmdline", shell=True, capture_output=True).stdout
    with lock:
        reported = json.dumps(states)
    for place, content in (("log", text), ("states", reported), ("process list", shown.decode(errors="replace"))):
        # This program's own servers do not have it either.
        assert PASSWORD not in content, f"the password is in the {place}"
    with lock:
        kinds = {stream: {report["state"] for report in reports} for stream, reports in states.items()}
        assert states["wrong"][-1]["last_error"] and "connected" in kinds["second"], kinds
        print("states:", {stream: sorted(kind) for stream, kind in sorted(kinds.items())})


def children(process):
    return subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True).stdout.split()


def process_of_first(supervisor):
    """The process of a source has its stream as argument."""
    for child in children(supervisor):
        if pathlib.Path(f"/proc/{child}/cmdline").read_bytes().endswith(b"source\0first\0"):
            return int(child)
    return None


if __name__ == "__main__":
    main()
