"""The plot of a run: bars of messages a second, row by row, broker by broker, as one SVG file.

Written by hand, for a library that draws would be the largest thing this project installs. The bars of a
row share a scale that begins at 0 and ends at the row's greatest figure; every figure stands at its bar,
and where there is none, the reason. The colours are told apart without red and green, and hold on light and
dark.
"""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.harness import OTHERS, TITLES, Side
from bench.outcomes import Outcome

WIDTH, MARGIN = 760, 16
NAMES, FIGURES = 96, 110  # room left of the bars, and right of the longest
BAR, STEP, GAP, HEADING = 13, 17, 18, 22
REASON_CHARACTERS = 90
# Okabe and Ito's colours.
COLOURS: dict[Side, str] = {
    "ours": "#0072b2", "peer": "#d55e00", "nats": "#009e73", "aedes": "#cc79a7", "amqtt": "#e69f00",
}  # fmt: skip
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328}.row{font-weight:600}.why{fill:#59636e}"
    ".ground{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.why{fill:#9198a1}.ground{fill:#0d1117}}"
)


def plotted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The rows that are drawn: a rate, ours held against another broker's."""
    return [one for one in outcomes if one.row.others and one.row.per_second and one.samples]


def draw(outcomes: Sequence[Outcome], facts: Sequence[tuple[str, str]]) -> str:
    """The SVG of a run; `facts` of date, commit and machine stand below it."""
    shapes: list[str] = []
    top = MARGIN
    for outcome in plotted(outcomes):
        top = _group(shapes, outcome, top)
    known = dict(facts)
    foot = " · ".join(known[name] for name in ("Date", "Commit", "Machine") if name in known)
    shapes.append(_text(MARGIN, top + 4, foot, style="why"))
    height = top + MARGIN
    title = "Rates of tokenmq and other brokers"
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
            f'<title id="title">{title}</title>',
            f'<desc id="desc">{escape(described(outcomes))}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def described(outcomes: Sequence[Outcome]) -> str:
    """What the plot shows, in words, for those who do not see it."""
    said = []
    for outcome in plotted(outcomes):
        figures = [f"{TITLES[side]} {outcome.cell(side)}" for side in _sides(outcome)]
        said.append(f"{outcome.row.title}: {', '.join(figures)}.")
    return "Bars, each row to its own scale. " + " ".join(said)


def _group(shapes: list[str], outcome: Outcome, top: int) -> int:
    """Add the bars of a row from `top` on; where the next one begins."""
    room = WIDTH - 2 * MARGIN - NAMES - FIGURES
    most = max(outcome.median(side) or 0.0 for side in outcome.samples)
    shapes.append(_text(MARGIN, top + 12, outcome.row.title, style="row"))
    top += HEADING
    for side in _sides(outcome):
        middle = top + BAR - 3
        shapes.append(_text(MARGIN, middle, TITLES[side]))
        median, left = outcome.median(side), MARGIN + NAMES
        if median is None:
            shapes.append(_text(left, middle, outcome.cell(side)[:REASON_CHARACTERS], style="why"))
        else:
            length = max(1.0, room * median / most) if most else 1.0
            shapes.append(
                f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[side]}"/>'
            )
            shapes.append(_text(left + length + 6, middle, outcome.cell(side)))
        top += STEP
    return top + GAP


def _sides(outcome: Outcome) -> list[Side]:
    every: tuple[Side, ...] = ("ours", "peer", *OTHERS)
    return [side for side in every if side in outcome.samples or side in outcome.problems]


def _text(x: float, y: float, words: str, *, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{escape(words)}</text>'
