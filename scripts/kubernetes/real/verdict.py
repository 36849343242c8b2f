"""Compares what clients sent during restarts with what the API counts and what a subscriber saw.

Usage: verdict.py REQUESTS RESTARTS                       prints how many requests began during the restarts
       verdict.py REQUESTS RESTARTS SERVER TOKEN ALERTS   waits until everything has arrived, prints the figures, and fails if something is
                                                          missing, repeated, or refused too often

REQUESTS are the lines of load.py, RESTARTS lines with the beginning and the end of each restart, ALERTS the lines of `sightline watch`.
"""

import collections
import json
import sys
import time
import urllib.request

ALLOWED = 1 / 1000
PATIENCE = 120
STREAM = "gate"


def lines(path):
    with open(path, encoding="utf-8") as file:
        # The last line may be half written.
        return [json.loads(line) for line in file if line.endswith("\n")]


def during(requests, restarts):
    return [request for request in requests if any(begin <= request["at"] <= end for begin, end in restarts)]


def counted(server, token):
    """The frames of all stored detections, with repetitions."""
    found, cursor = [], None
    while True:
        query = f"stream={STREAM}&limit=100" + (f"&cursor={cursor}" if cursor else "")
        request = urllib.request.Request(f"http://{server}/v1/detections?{query}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            page = json.load(response)
        found += [item["frame_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def await_all(accepted, server, token, alerts_path):
    deadline = time.time() + PATIENCE
    while True:
        stored = counted(server, token)
        seen = [alert["frame_id"] for alert in lines(alerts_path) if alert["stream"] == STREAM]
        if accepted <= set(stored) and set(stored) <= set(seen) or time.time() > deadline:
            return stored, seen
        time.sleep(1)


def repeated(frames):
    return [frame for frame, times in collections.Counter(frames).items() if times > 1]


def show_refusals(refused, restarts):
    for request in refused:
        begin = max((begin for begin, _ in restarts if begin <= request["at"]), default=request["at"])
        print(f"refused: {request['at'] - begin:.1f} s after the restart began: {json.dumps(request)}")


def main():
    requests = lines(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        restarts = [tuple(map(float, line.split())) for line in file]
    of_restarts = during(requests, restarts)
    if len(sys.argv) == 3:
        print(len(of_restarts))
        return 0
    server, token, alerts_path = sys.argv[3:]
    accepted = {request["frame"] for request in requests if request.get("frame")}
    stored, seen = await_all(accepted, server, token, alerts_path)
    refused = [request for request in requests if "refused" in request]
    refused_during = [request for request in of_restarts if "refused" in request]
    show_refusals(refused, restarts)
    # A request that was refused while its response was on the way may be stored all the same.
    stored_although_refused = len(set(stored) - accepted)
    connections = collections.Counter(request["connection"] for request in of_restarts)
    slowest = max((request["took"] for request in of_restarts), default=0)
    print(f"{len(of_restarts)} requests during {len(restarts)} restarts ({dict(connections)}), {len(refused_during)} refused; slowest {slowest} s")
    print(f"{len(requests)} requests in all, {len(refused)} refused; {len(accepted)} frames accepted, {len(set(stored))} counted, "
          f"{len(set(seen))} alerts seen")
    faults = []
    if missing := accepted - set(stored):
        faults.append(f"{len(missing)} accepted frames are not counted: {sorted(missing)[:5]}")
    if unseen := set(stored) - set(seen):
        faults.append(f"{len(unseen)} alerts were not seen: {sorted(unseen)[:5]}")
    if twice := repeated(stored):
        faults.append(f"{len(twice)} frames are counted twice: {twice[:5]}")
    if twice := repeated(seen):
        faults.append(f"{len(twice)} alerts were seen twice: {twice[:5]}")
    if stored_although_refused > len(refused):
        faults.append(f"{stored_although_refused} frames are counted that nobody sent")
    if len(refused_during) > ALLOWED * len(of_restarts):
        faults.append(f"{len(refused_during)} of {len(of_restarts)} requests were refused; at most 1 in 1,000 may be")
    if outside := len(refused) - len(refused_during):
        faults.append(f"{outside} requests were refused while nothing restarted")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
