"""What a camera costs end to end: processor time of the camera program and of `sightline up` with the detector `vehicle`.

    camera-bench.py SIGHTLINE CAMERA FOLDER FIRST_FREE_PORT [--json] [--quick]

FOLDER has busy.mp4, still.mp4 and noisy.mp4, 20 s of 1080p at 25 frames a second. They are sent as a camera's frames are: 5 of them a second,
with the motion gate, as fast as they are accepted. The scenes take turns, and so does the ffmpeg command that writes 5 images a second.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "docs/bench"))
from report import Report, cpu_seconds  # noqa: E402
from up import SightlineUp, fail, version_of, wait_for  # noqa: E402

sightline, camera, folder, port = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
SCENES, FPS, DETECTOR = ("still", "noisy", "busy"), 5, "vehicle"
ROUNDS = 1 if "--quick" in sys.argv else 5


def run_time(command, **options):
    """Processor time of a command and of the processes that it starts."""
    process = subprocess.Popen(command, **options)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        fail(f"{command[0]} failed: {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def seconds_of(video):
    entries = ["-show_entries", "format=duration", "-of", "csv=p=0"]
    return float(subprocess.run(["ffprobe", "-v", "error", *entries, video], stdout=subprocess.PIPE, check=True).stdout)


def results(up, stream):
    """The frames of a stream, when each that was sent has its result."""

    def are_complete():
        nonlocal frames
        state = up.get(f"/v1/streams/{stream}").get("state", {})
        frames = up.list(f"/v1/frames?stream={stream}")
        return state.get("state") == "ended" and len(frames) == state["frames_sent"] > 0

    frames = []
    wait_for(f"each frame of {stream} has a result", are_complete)
    return frames


def send(up, scene, number):
    """Processor time of the camera program and of `up` for one scene, and its frames."""
    stream = f"{scene}-{number}"
    source = {
        "stream": stream, "url": str(folder / f"{scene}.mp4"), "fps": FPS, "motion_gate": True, "when_slow": "wait", "detectors": [DETECTOR],
    }  # fmt: skip
    config = folder / "cameras.yaml"
    config.write_text(json.dumps({"cameras": [source]}))
    before = cpu_seconds(up.process.pid)
    environment = {**os.environ, "SIGHTLINE_TOKEN": up.token, "SIGHTLINE_SERVER": up.api, "SIGHTLINE_ADMIN_ADDR": "off"}
    with (folder / "camera.log").open("a") as log:
        reading = run_time([camera, "--config", str(config)], env=environment, stdout=log, stderr=log)
    frames = results(up, stream)
    return reading, cpu_seconds(up.process.pid) - before, frames


def ffmpeg(scene):
    images = folder / "images"
    images.mkdir(exist_ok=True)
    command = ["ffmpeg", "-v", "error", "-y", "-i", folder / f"{scene}.mp4", "-vf", f"fps={FPS}", "-f", "image2", images / "%d.jpg"]
    return run_time(command, stdin=subprocess.DEVNULL)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report("cameras", version_of(sightline))
    seconds = {scene: seconds_of(folder / f"{scene}.mp4") for scene in SCENES}
    up, turns = SightlineUp(sightline, folder, port, {"SIGHTLINE_DETECTORS": DETECTOR}), []
    try:
        # The first images of a size need memory of their own.
        send(up, "busy", 0)
        for number in range(1, ROUNDS + 1):
            turns.append({scene: (*send(up, scene, number), ffmpeg(scene)) for scene in SCENES})
        up.stop()
    finally:
        up.kill()
    settings = {"rounds": ROUNDS, "frames_per_second": FPS, "size": "1920x1080", "detector": DETECTOR, "seconds": seconds["busy"]}
    for name, value in settings.items():
        report.setting(name, value)
    share = {scene: [sum(turn[scene][:2]) / seconds[scene] for turn in turns] for scene in SCENES}
    for scene in SCENES[:2]:
        ratios = [still / busy for still, busy in zip(share[scene], share["busy"])]
        report.rounds(f"{scene} ÷ busy, end to end", ratios, "of its processor time", at_most=0.2)
    for scene in SCENES:
        reading = [turn[scene][0] / seconds[scene] for turn in turns]
        command = [turn[scene][3] / seconds[scene] for turn in turns]
        median = statistics.median(share[scene])
        frames = turns[0][scene][2]
        found = sum(len(frame["detections"]) for frame in frames)
        report.figure(f"{scene}: frames sent, of {seconds[scene] * FPS:.0f}", len(frames), f"with {found} detections")
        report.figure(f"{scene}: end to end", median * 100, "% of a core")
        report.figure(f"{scene}: end to end, cameras per core", 1 / median, "")
        report.figure(f"{scene}: of it the camera program", statistics.median(reading) * 100, "% of a core")
        server = statistics.median(turn[scene][1] / seconds[scene] for turn in turns)
        report.figure(f"{scene}: of it sightline up", server * 100, "% of a core")
        report.figure(f"{scene}: ffmpeg -vf fps=5 -f image2", statistics.median(command) * 100, "% of a core")
        report.rounds(f"{scene}: camera program ÷ ffmpeg", [own / other for own, other in zip(reading, command)], "of its processor time")
    report.print("--json" in sys.argv)


main()
