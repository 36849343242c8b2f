"""A report like those of `sightline-bench`, for the benches that are scripts: as a table, or as a JSON object for render.py."""

import json
import os
import re
import statistics
from pathlib import Path


def machine(version):
    """This machine, as in crates/bench/src/machine.rs."""

    def field(path, name):
        return re.search(rf"^{name}\s*:\s*(.*)$", Path(path).read_text(), re.M)[1].strip()

    return {
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20), 1),
        "system": f"Linux {os.uname().release}",
        "load": os.getloadavg()[0],
        "sightline": version,
    }


def cpu_seconds(pid):
    """Processor time of a process so far, and of its children that have ended and were waited for; in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Report:
    """The figures of one bench."""

    def __init__(self, bench, version):
        self.report = {"bench": bench, "machine": machine(version), "settings": {}, "figures": [], "notes": []}

    def setting(self, name, value):
        self.report["settings"][name] = value

    def note(self, text):
        self.report["notes"].append(text)

    def figure(self, name, value, unit, at_least=None, at_most=None):
        goal = f"≥ {at_least}" if at_least is not None else f"≤ {at_most}" if at_most is not None else None
        met = None if goal is None else value >= at_least if at_least is not None else value <= at_most
        self.report["figures"].append({"name": name, "value": value, "unit": unit, "goal": goal, "met": met})

    def rounds(self, name, values, unit, **goal):
        """The median of several rounds with the goal, and the least and the most."""
        self.figure(name, statistics.median(values), unit, **goal)
        if len(values) > 1:
            self.figure(f"{name}, least", min(values), unit)
            self.figure(f"{name}, most", max(values), unit)

    def print(self, as_json):
        if as_json:
            print(json.dumps(self.report, ensure_ascii=False))
            return
        facts = self.report["machine"]
        print(f"{self.report['bench']}  ({', '.join(f'{name} {value}' for name, value in facts.items())})")
        width = max(len(figure["name"]) for figure in self.report["figures"])
        for figure in self.report["figures"]:
            goal = "" if figure["goal"] is None else f"  {figure['goal']}: {'met' if figure['met'] else 'NOT met'}"
            print(f"  {figure['name']:<{width}}  {figure['value']:>10.2f} {figure['unit']:<22}{goal}")
        for note in self.report["notes"]:
            print(f"  {note}")
