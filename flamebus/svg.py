"""A flame graph as one SVG file: a picture everywhere, and where scripts run one to zoom and search in.

The file loads nothing. It holds every node of the tree, of which only those wide enough are drawn: zooming shows the
others, and a search counts them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import xxhash

from flamebus.clock import format_time
from flamebus.frames import Frame, FrameKind
from flamebus.profile import F64, I64, U32
from flamebus.time_range import TimeRange
from flamebus.tree import CallTree

MAX_NODES = 200_000
"""About 6 MB of SVG; the smallest nodes beyond are left out, and the picture says so."""

_WIDTH, _ROW_HEIGHT, _TOP, _MARGIN = 1200.0, 18, 84, 10
_CHARACTER = 6.7
"""Pixels of a character of the 11 px font below, on the wide side."""

_NARROWEST = 0.5
"""Pixels below which the picture without scripts leaves a frame out."""

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot carry in any form."""

_HUES = {
    FrameKind.NATIVE: (32, 78),
    FrameKind.KERNEL: (213, 45),
    FrameKind.CPYTHON: (142, 42),
    FrameKind.JVM: (8, 72),
    FrameKind.V8JS: (52, 72),
}
"""Hue in degrees and saturation in percent: warm for compiled code, cool for the kernel, as on the page."""

_STYLE = """
svg { background: #f5f5f3; font: 11px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; display: block; }
.page { fill: #f5f5f3; } text { fill: #1d1d1b; }
.title { font: 600 16px system-ui, sans-serif; }
.about, .status, .found, .reset { font: 13px system-ui, sans-serif; }
.about { fill: #66665f; } .found { text-anchor: end; }
.reset { text-anchor: end; fill: #9a3412; text-decoration: underline; cursor: pointer; }
.reset.off, svg:not(.live) .reset { display: none; }
.frames text { fill: #1b1a17; pointer-events: none; } .live .frame { cursor: pointer; }
.frame:hover rect { stroke: #1b1a17; stroke-width: 1; } .cursor rect { stroke: #c2410c; stroke-width: 2; }
.above { opacity: .55; } .miss rect { fill: #dcdad4; } .hit rect { fill: #e879c9; }
input { box-sizing: border-box; width: 200px; height: 28px; font: 13px system-ui, sans-serif; padding: 0 8px;
  color: #1d1d1b; background: #fff; border: 1px solid #c9c7c0; border-radius: 6px; }
input:focus { outline: 2px solid #c2410c; }
@media (prefers-color-scheme: dark) {
  svg { background: #151514; } .page { fill: #151514; } text { fill: #ecebe7; } .about { fill: #a3a29b; }
  .reset { fill: #fb923c; } .frames rect { filter: brightness(.86); } .miss rect { fill: #3f3e3a; }
  .frames .miss text { fill: #cfcdc6; } .above { opacity: .75; }
  .frame:hover rect { stroke: #ecebe7; } .cursor rect { stroke: #fb923c; }
  input { color: #ecebe7; background: #1e1e1d; border-color: #55554f; }
}
"""


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands above the picture: ``title``, a line ``about`` the profile, and the ``unit`` of its values."""

    title: str
    about: str
    unit: str

    @classmethod
    def of_profile(cls, service: str | None, kind: str, span: TimeRange, samples: float, unit: str) -> "Caption":
        """The caption of a profile; without a service it is of all of them."""
        range_text = f"{format_time(span.from_unix_nano)} to {format_time(span.to_unix_nano)}"
        return cls(service or "all services", f"{kind} · {range_text} · {samples:,.0f} samples", unit)


def render_svg(tree: CallTree, caption: Caption, max_nodes: int = MAX_NODES) -> str:
    """The picture.

    Args:
        tree: any call tree; the nodes beyond ``max_nodes`` are left out, smallest first.
        caption: any text; nothing in it or in names of functions can end up as markup or script.
        max_nodes: held in the file.
    """
    tree = _heaviest_first(tree.prune(max_nodes))
    depth = _depths(tree.parent)
    boxes = list(_boxes(tree, depth))
    height = _TOP + (max((box.depth for box in boxes), default=0) + 1) * _ROW_HEIGHT + _MARGIN
    about = caption.about
    if tree.pruned_count:
        about += f" · {tree.pruned_count:,} smaller nodes left out"
    width = round(_WIDTH)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label={quoteattr(_text(caption.title))}>'
        ),
        f"<title>{escape(_text(caption.title))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
        f'<text class="title" x="{_MARGIN}" y="26">{escape(_text(caption.title))}</text>',
        f'<text class="about" x="{_MARGIN}" y="47">{escape(_text(about))}</text>',
        f'<text class="status" x="{_MARGIN}" y="{_TOP - 16}" role="status"></text>',
        '<text class="found" role="status"></text><text class="reset" role="button">reset zoom</text>',
        '<g class="frames">',
        *(box.markup(tree) for box in boxes),
        "</g>",
        f'<script type="application/json">{_data(tree, caption.unit)}</script>',
        f"<script><![CDATA[{files('flamebus').joinpath('svg.js').read_text('utf-8')}]]></script>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Box:
    """A frame of the picture without scripts, in pixels."""

    row: int
    depth: int
    x: float
    width: float

    def markup(self, tree: CallTree) -> str:
        name = tree.frames[int(tree.frame[self.row])].function if self.row else "all"
        fill = color(tree.frames[int(tree.frame[self.row])]) if self.row else "#c9c7c0"
        y = _TOP + self.depth * _ROW_HEIGHT
        most = int((self.width - 6) / _CHARACTER)
        label = name if len(name) <= most else f"{name[: most - 1]}…"
        share = int(tree.total_value[self.row]) / max(int(tree.total_value[0]), 1)
        return "".join(
            (
                f'<g class="frame"><rect x="{self.x:.2f}" y="{y}" width="{max(self.width - 0.5, 0.2):.2f}" ',
                f'height="{_ROW_HEIGHT - 1}" fill="{fill}"/>',
                f'<text x="{self.x + 3:.2f}" y="{y + _ROW_HEIGHT - 5}">{escape(_text(label))}</text>'
                if most > 2
                else "",
                f"<title>{escape(_text(name))} · {share:.2%}</title></g>",
            )
        )


def _boxes(tree: CallTree, depth: U32) -> Iterator[_Box]:
    start = _starts(tree)
    scale = (_WIDTH - 2 * _MARGIN) / max(int(tree.total_value[0]), 1)
    width = tree.total_value * scale
    for row in np.flatnonzero(width >= _NARROWEST).tolist():
        yield _Box(row, int(depth[row]), _MARGIN + float(start[row]) * scale, float(width[row]))


def _depths(parent: U32) -> U32:
    depth = np.zeros(len(parent), dtype=np.uint32)
    for row, caller in enumerate(parent.tolist()[1:], start=1):
        depth[row] = depth[caller] + 1
    return depth


def _starts(tree: CallTree) -> F64:
    """Where each node begins, in values from the left: callees in the order of their rows."""
    start = np.zeros(len(tree.parent))
    free = [0.0] * len(tree.parent)
    for row, (caller, total) in enumerate(zip(tree.parent.tolist(), tree.total_value.tolist(), strict=True)):
        if row:
            start[row] = free[row] = free[caller]
            free[caller] += total
    return start


def _heaviest_first(tree: CallTree) -> CallTree:
    """The same tree, callers still first, with the callees of each caller in descending order."""
    depth = _depths(tree.parent)
    order = np.lexsort((tree.frame, -tree.total_value, depth))
    row = np.empty(len(order), dtype=np.uint32)
    row[order] = np.arange(len(order), dtype=np.uint32)
    return CallTree(
        tree.frames,
        row[tree.parent[order]],
        tree.frame[order],
        tree.self_value[order],
        tree.total_value[order],
        tree.pruned_count,
    )


def _data(tree: CallTree, unit: str) -> str:
    """All nodes as JSON. Values are divided by what divides them all: usually the sampling period."""
    values: I64 = np.concatenate((tree.self_value, tree.total_value))
    factor = max(int(np.gcd.reduce(values)), 1)
    used, numbers = np.unique(tree.frame, return_inverse=True)
    frames = [tree.frames[row] for row in used.tolist()] if tree.frames else []
    content = {
        "unit": unit,
        "factor": factor,
        "layout": {"row_height": _ROW_HEIGHT, "top": _TOP, "margin": _MARGIN, "character": _CHARACTER},
        "frames": [[frame.function, frame.mapping, frame.kind.label] for frame in frames],
        "colors": [color(frame) for frame in frames],
        "parent": tree.parent.tolist(),
        "frame": numbers.tolist(),
        "own": (tree.self_value // factor).tolist(),
        "total": (tree.total_value // factor).tolist(),
    }
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    # Escaped inside JSON's strings, nothing is left that XML or HTML would read as markup.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def color(frame: Frame) -> str:
    """The frame's colour, ``#rrggbb``: the hue says its kind, the shade tells neighbours apart."""
    hue, saturation = _HUES[frame.kind]
    shade = xxhash.xxh32_intdigest(f"{frame.mapping}\0{frame.function}".encode("utf-8", "replace"))
    light = 70 + shade % 11
    return _hex((hue + (shade >> 8) % 17 - 8) % 360, saturation, light)


def _hex(hue: float, saturation: float, lightness: float) -> str:
    """HSL (degrees, percent, percent) as hexadecimal, which every reader of SVG knows."""
    spread = saturation / 100 * min(lightness, 100 - lightness) / 100

    def channel(offset: int) -> int:
        turn = (offset + hue / 30) % 12
        return round(255 * (lightness / 100 - spread * max(-1, min(turn - 3, 9 - turn, 1))))

    return f"#{channel(0):02x}{channel(8):02x}{channel(4):02x}"


def _text(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
