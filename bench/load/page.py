"""The report of a load test as one HTML file: plots inside it, figures below, nothing fetched from anywhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from ..crowd import Step
from ..report import commit, machine
from . import search, weather
from .clinic import MEDIA, Day

BLUE, LIGHT, GREY, RED = "#1b6ca8", "#7fb3d5", "#b9c4cc", "#a33333"
COLOURS = (BLUE, RED, "#3f8f4f", "#c9822b", "#6b4fa0")
STYLE = """body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
svg{max-width:100%;height:auto}table{border-collapse:collapse}
td{padding:.1rem 1rem .1rem 0;border-bottom:1px solid #eee}
td+td{text-align:right;font-variant-numeric:tabular-nums}.missed{color:#a33333}"""


def plot_day(day: Day, seconds: float) -> Figure:
    """People, what they noticed, and what server and load used, over the day."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    users, times, cores = figure.subplots(3, sharex=True)
    users.step([at for at, _ in day.users], [count for _, count in day.users], where="post", color=BLUE)
    users.set_ylabel("people")
    for part in weather.DAY:
        users.axvline(part.begin * seconds, color="#dddddd", linewidth=1)
        users.text(part.begin * seconds, 0, f" {part.name}", fontsize="small", color="#666666")
    for name, colour in zip(MEDIA, COLOURS, strict=True):
        series = day.times.get(f"media {name}", [])
        times.plot([at for at, _ in series], [max(1.0, ms) for _, ms in series], color=colour, label=name)
    times.set_yscale("log")
    times.set_ylabel("p95 of 10 s, ms")
    times.legend(fontsize="small")
    cores.plot(day.at, day.server, color=BLUE, label="server, cores")
    cores.plot(day.at, day.load, color=GREY, label="load, cores")
    memory = cores.twinx()
    memory.plot(day.at, day.rss, color=RED, linestyle=":", label="server, MB")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("MB")
    cores.set_ylim(bottom=0)
    cores.set_ylabel("cores")
    cores.legend(loc="upper left", fontsize="small")
    memory.legend(loc="upper right", fontsize="small")
    cores.set_xlabel("seconds of the day")
    for axes in (users, times, cores):
        for one in weather.WEATHER:
            begin = one.at * seconds
            axes.axvspan(begin, begin + max(one.seconds, seconds / 300), color=RED, alpha=0.12)
    return figure


def plot_search(done: Sequence[tuple[int, Step]]) -> Figure:
    """Time to join, concealed sound and cores over the number of visits; what did not fit is hollow."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    join, sound, cores = figure.subplots(3, sharex=True)
    steps = sorted(done, key=lambda one: one[0])
    visits = [number for number, _ in steps]
    faces = ["white" if search.judge(step, number) else BLUE for number, step in steps]
    join.plot(visits, [step.join_s(0.95) for _, step in steps], color=LIGHT, zorder=1)
    join.scatter(visits, [step.join_s(0.95) for _, step in steps], c=faces, edgecolors=BLUE, zorder=2)
    join.axhline(search.JOIN_P95, color=RED, linestyle=":")
    join.set_ylabel("join p95, s")
    sound.plot(visits, [100 * search.concealed(step) for _, step in steps], "o-", color=BLUE)
    sound.axhline(100 * search.CONCEALED, color=RED, linestyle=":")
    sound.set_ylabel("sound concealed, %")
    cores.plot(visits, [step.server / step.seconds for _, step in steps], "o-", color=BLUE, label="server")
    cores.plot(visits, [step.bots / step.seconds for _, step in steps], "o-", color=GREY, label="bots")
    cores.set_ylabel("cores")
    cores.set_xlabel("three-party visits at once")
    cores.legend()
    return figure


def write(
    path: Path,
    plots: Mapping[str, Figure],
    figures: Mapping[str, float],
    notes: Sequence[str],
    missed: Sequence[str],
) -> None:
    """The page; beside it each plot as PNG under `path`'s name with the plot's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [f"<p>{escape(commit())}<br>{escape(machine())}</p>"]
    parts += [f'<p class="missed">missed: {escape(one)}</p>' for one in missed]
    parts += [f"<p>{escape(one)}</p>" for one in notes]
    for name, figure in plots.items():
        figure.savefig(path.with_name(f"{path.stem}-{name.replace(' ', '-')}.png"), dpi=110)
        parts.append(f"<h2>{escape(name.capitalize())}</h2>{_svg(figure)}")
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{value:,.3f}</td></tr>" for name, value in figures.items())
    parts.append(f"<h2>Figures</h2><table>{rows}</table>")
    page = f'<!doctype html><meta charset="utf-8"><title>Load test</title><style>{STYLE}</style><h1>Load test</h1>'
    path.write_text(page + "".join(parts) + "\n", encoding="utf-8")


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg")
    text = out.getvalue()
    return text[text.index("<svg") :]
