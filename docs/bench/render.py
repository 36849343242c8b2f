"""Puts the figures of a run of `sightline-bench` into docs/BENCHMARKS.md and draws its plots.

Usage: render.py RESULTS [DOCUMENT]

RESULTS has one JSON object a line, as `sightline-bench … --json` prints them. In the document, the text between
`<!-- figures NAME -->` and `<!-- end -->` is replaced by the table and the plots of the bench NAME; all other text is
written by hand. Plots are written to docs/bench/<bench>-<n>.svg. Exits 1 when the document has no section for a bench, or a section
without results.
"""

import json
import re
import sys
from pathlib import Path

import pygal
from pygal.style import Style

# More points than the width of the plot only make its file larger.
MAX_POINTS = 240
SECTION = re.compile(r"(<!-- figures (?P<bench>[a-z-]+) -->\n).*?(<!-- end -->)", re.S)
STYLE = Style(
    background="white", plot_background="white", font_family="sans-serif", title_font_size=15, label_font_size=11,
    major_label_font_size=11, legend_font_size=12, stroke_width=2,
)  # fmt: skip


def number(value):
    """Formats with three significant digits, like the command's own table."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(report):
    lines = ["| | figure | goal | |", "|---|---:|---|---|"]
    for figure in report["figures"]:
        met = {True: "met", False: "**not met**", None: ""}[figure["met"]]
        value = f"{number(figure['value'])} {figure['unit']}"
        lines.append(f"| {figure['name']} | {value} | {figure['goal'] or ''} | {met} |")
    return lines


def run_conditions(report):
    machine = report["machine"]
    settings = ", ".join(f"{name} {value}" for name, value in sorted(report["settings"].items()))
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"load {machine['load']} before the run; {settings}"
    )


def downsample(points):
    """Returns at most MAX_POINTS points. Of neighbouring points it keeps the highest, because peaks matter most."""
    size = -(-len(points) // MAX_POINTS)
    groups = (points[start : start + size] for start in range(0, len(points), size or 1))
    return [tuple(max(group, key=lambda point: point[1])) for group in groups]


def plots(report, folder):
    """Writes one plot for each pair of axes; returns the names of the files."""
    pairs = {}
    for series in report.get("series", []):
        pairs.setdefault((series["x"], series["y"]), []).append(series)
    files = []
    for index, ((x, y), lines) in enumerate(pairs.items(), 1):
        plot = pygal.XY(
            title=f"{report['bench']}: {y}", x_title=x, y_title=y, style=STYLE, js=[], width=720, height=400,
            legend_at_bottom=True, legend_at_bottom_columns=2, dots_size=2, no_prefix=True,
        )  # fmt: skip
        for line in lines:
            plot.add(line["name"], downsample(line["points"]))
        name = f"{report['bench']}-{index}.svg"
        # The default is random, so each run would change the file.
        plot.uuid = name
        (folder / name).write_bytes(plot.render())
        files.append(name)
    return files


def block(report, folder):
    lines = [*table(report), "", run_conditions(report), ""]
    lines += [line for note in report.get("notes", []) for line in (note, "")]
    lines += [line for name in plots(report, folder) for line in (f"![{report['bench']}](bench/{name})", "")]
    return "\n".join(lines)


def main():
    here = Path(__file__).parent
    results = Path(sys.argv[1])
    document = Path(sys.argv[2]) if len(sys.argv) > 2 else here.parent / "BENCHMARKS.md"
    reports = [json.loads(line) for line in results.read_text().splitlines() if line.startswith("{")]
    by_name = {report["bench"]: report for report in reports}
    sections = {match["bench"] for match in SECTION.finditer(document.read_text())}
    if sections != set(by_name):
        sys.exit(f"{document} has sections for {sorted(sections)}, {results} has {sorted(by_name)}")
    text = SECTION.sub(lambda match: match[1] + block(by_name[match["bench"]], here) + match[3], document.read_text())
    document.write_text(text)


if __name__ == "__main__":
    main()
