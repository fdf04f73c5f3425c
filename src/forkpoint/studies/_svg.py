"""Three small figures as SVG text: lines, points, and means with intervals. The same numbers give the same bytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 720, 380, 64, 34, 46, 150
COLORS = ("#c2501b", "#1f6fb4", "#1f8a63", "#8b57b4", "#8a6a12", "#55585e")
DARK = ("#f2955f", "#6fb5f2", "#5fcaa1", "#c69be8", "#d9b956", "#b6b9bf")
DASHES = ("none", "7 3", "2 3", "11 3 2 3")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c1c1a}.m{fill:#5d6066}.g{stroke:#dedcd5}.z{stroke:#5d6066}"
    "svg{background:#fdfdfb}"
    + "".join(f".s{i}{{stroke:{color}}}.f{i}{{fill:{color}}}" for i, color in enumerate(COLORS))
    + "@media(prefers-color-scheme:dark){svg{background:#131518}text{fill:#e9e7e2}.m{fill:#a4a7ad}"
    ".g{stroke:#31353b}.z{stroke:#a4a7ad}"
    + "".join(f".s{i}{{stroke:{color}}}.f{i}{{fill:{color}}}" for i, color in enumerate(DARK))
    + "}"
)

Number = int | float
Points = Sequence[tuple[Number, Number]]
Place = Callable[[Number], float]


class Interval(NamedTuple):
    name: str
    mean: Number
    low: Number
    high: Number


def lines(title: str, series: Mapping[str, Points], x_title: str, y_title: str) -> str:
    """One line per name, told apart by color and dash, with a legend; y goes down to zero."""
    x, y, frame = _plane(title, series, x_title, y_title, zero=True)
    drawn = []
    for i, (name, points) in enumerate(series.items()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points if math.isfinite(b))
        look = f'class="s{i % len(COLORS)}" fill="none" stroke-width="2" stroke-dasharray="{_dash(i)}"'
        drawn += [f'<polyline points="{path}" {look}/>', *_legend(i, name, f'<line x1="0" x2="22" {look}/>')]
    return _whole(title, [*frame, *drawn], HEIGHT)


def points(title: str, groups: Mapping[str, Points], x_title: str, y_title: str) -> str:
    """A dot per point, told apart by color and shape, with a legend."""
    x, y, frame = _plane(title, groups, x_title, y_title, zero=False)
    drawn = []
    for i, (name, group) in enumerate(groups.items()):
        drawn += [_mark(i, x(a), y(b)) for a, b in group if math.isfinite(a) and math.isfinite(b)]
        drawn += _legend(i, name, _mark(i, 11, 0))
    return _whole(title, [*frame, *drawn], HEIGHT)


def intervals(title: str, rows: Sequence[Interval], x_title: str) -> str:
    """A mean with its interval per row, beside zero."""
    left, height = 180, TOP + BOTTOM + 24 * len(rows)
    ends = [value for row in rows for value in row[1:] if math.isfinite(value)] + [0.0]
    ticks = nice(min(ends), max(ends))
    x = _scale(ticks[0], ticks[-1], left, WIDTH - 24)
    drawn = [_tick(x(t), height - BOTTOM, t, "z" if t == 0 else "g", TOP) for t in ticks]
    for i, row in enumerate(rows):
        y = TOP + 24 * i + 12
        drawn.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(row.name)}</text>')
        if math.isfinite(row.low) and math.isfinite(row.high):
            drawn.append(f'<line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}" class="s1"/>')
        drawn.append(f'<circle cx="{x(row.mean):.1f}" cy="{y}" r="4" class="f1"/>')
    drawn.append(f'<text class="m" x="{(left + WIDTH) / 2:.0f}" y="{height - 8}" text-anchor="middle">{x_title}</text>')
    return _whole(title, drawn, height)


def nice(low: Number, high: Number, about: int = 6) -> list[float]:
    """Round numbers that reach from at most ``low`` to at least ``high``.

    >>> nice(0.0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    wide = (high - low) or abs(high) or 1.0
    rough = wide / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _plane(
    title: str, groups: Mapping[str, Points], x_title: str, y_title: str, *, zero: bool
) -> tuple[Place, Place, list[str]]:
    every = [p for group in groups.values() for p in group if math.isfinite(p[0]) and math.isfinite(p[1])]
    every = every or [(0.0, 0.0)]
    xs = nice(min(p[0] for p in every), max(p[0] for p in every))
    ys = nice(min([p[1] for p in every] + [0.0] * zero), max(p[1] for p in every))
    right, floor = WIDTH - LEGEND, HEIGHT - BOTTOM
    x, y = _scale(xs[0], xs[-1], LEFT, right), _scale(ys[0], ys[-1], floor, TOP)
    frame = [_tick(x(t), floor, t, "g", TOP) for t in xs]
    for t in ys:
        frame.append(f'<line x1="{LEFT}" x2="{right}" y1="{y(t):.1f}" y2="{y(t):.1f}" class="g"/>')
        frame.append(f'<text class="m" x="{LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>')
    frame.append(f'<text class="m" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_title}</text>')
    frame.append(f'<text class="m" x="{LEFT - 48}" y="{TOP - 8}">{y_title}</text>')
    return x, y, frame


def _scale(low: Number, high: Number, start: Number, end: Number) -> Place:
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _tick(x: Number, floor: Number, value: Number, look: str, top: Number) -> str:
    label = f'<text class="m" x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{value:g}</text>'
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}" class="{look}"/>{label}'


def _dash(i: int) -> str:
    return DASHES[i // len(COLORS) % len(DASHES)]


def _mark(i: int, x: Number, y: Number) -> str:
    look = f'class="f{i % len(COLORS)}"'
    if i // len(COLORS) % 2:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {look}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {look}/>'


def _legend(i: int, name: str, sample: str) -> list[str]:
    y = TOP + 8 + 20 * i
    place = f'<g transform="translate({WIDTH - LEGEND + 10} {y})">'
    return [f'{place}{sample}<text x="28" y="4">{escape(name)}</text></g>']


def _whole(title: str, parts: Sequence[str], height: Number) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" width="{WIDTH}">'
    name = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([head, name, *parts, "</svg>", ""])
