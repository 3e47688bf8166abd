"""Draws how a pass is cut into chunks and tiles, how partial sums are added, and what happens to a tile.

python docs/tools/draw_kernels.py    writes docs/images/kernels-cut.svg and kernels-tile.svg
"""

from __future__ import annotations

from html import escape

from pages import DOCS

INK, FAINT, PAPER = "#1f2933", "#9aa5b1", "#ffffff"
THREADS = ("#3f51b5", "#f59e0b")  # of the two threads of the example
TILES, CHUNKS = 32, 8
FINISHED_BY = (0, 0, 0, 0, 1, 1, 1, 1)  # the thread of each chunk


class Drawing:
    """An SVG of shapes with captions, on a white card."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="15" fill="{INK}" role="img"><title>{escape(title)}</title>',
            '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>',
        ]

    def box(self, x: float, y: float, w: float, h: float, fill: str, opacity: float = 1, stroke: str = INK) -> None:
        """A rectangle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}" fill-opacity="{opacity}" stroke="{stroke}"/>'
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start", **attributes: str) -> None:
        """A line of words."""
        more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
        self.parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False, stroke: str = INK) -> None:
        """A straight line."""
        head = ' marker-end="url(#head)"' if arrow else ""
        self.parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{stroke}" stroke-width="1.5"{head}/>')

    def write(self, name: str) -> None:
        """Writes the file among the site's images."""
        (DOCS / "images" / name).write_text("\n".join([*self.parts, "</svg>\n"]))


def draw_cut() -> None:
    """One sample of 64 x 64 positions: 32 tiles in 8 chunks, whose partial sums are added as a tree."""
    d = Drawing(900, 470, "A pass is cut into tiles and chunks; partial sums are added in a fixed tree")
    left, width, top = 150, 704, 70
    tile, chunk = width / TILES, width / CHUNKS
    d.text(
        left,
        28,
        "one sample: P = H x W positions. Dark: a tile, 128 positions with all their channels",
        font_weight="bold",
    )
    d.text(left - 16, top + 36, "C channels", "end")
    for index in range(TILES):
        d.box(left + index * tile, top, tile, 64, THREADS[FINISHED_BY[index * CHUNKS // TILES]], 0.18, FAINT)
    for index in range(CHUNKS + 1):
        d.line(left + index * chunk, top - 8, left + index * chunk, top + 72)
    d.text(left - 16, top - 14, "chunks", "end")
    for index in range(CHUNKS):
        d.text(left + (index + 0.5) * chunk, top - 14, str(index), "middle")
    d.box(left + tile, top, tile, 64, THREADS[0], 0.75)
    row = 190
    d.text(left - 16, row + 20, "partial sums", "end")
    centres = [left + (index + 0.5) * chunk for index in range(CHUNKS)]
    for index, centre in enumerate(centres):
        d.line(centre, top + 74, centre, row - 4, arrow=True)
        d.box(centre - 26, row, 52, 30, THREADS[FINISHED_BY[index]], 0.35)
    y, step = row + 30, 1
    while step < CHUNKS:
        for index in range(0, CHUNKS, 2 * step):
            x, other = centres[index], centres[index + step]
            below = y + 50
            d.line(x, y, x, below - 2, arrow=True)
            d.line(other, y, x + 27, below + 10, arrow=True)
            both = {FINISHED_BY[each] for each in range(index, index + 2 * step)}
            d.box(x - 26, below, 52, 26, THREADS[both.pop()] if len(both) == 1 else "#10b981", 0.35)
            d.text(x, below + 18, f"{index}-{index + 2 * step - 1}", "middle", font_size="13")
        y, step = y + 76, 2 * step
    d.text(centres[0] + 60, y - 6, "The tree depends on the shape alone.", font_weight="bold")
    d.text(centres[4] - 40, y - 52, "blue, amber: done by the thread that had the chunks", font_size="13")
    d.text(centres[4] - 40, y - 34, "green: afterwards, shared out by items", font_size="13")
    d.write("kernels-cut.svg")


STAGES = (
    ("load", "features, once", "squares and products", "with the items"),
    ("score", "norms, cosines", "the two nearest", "softmax"),
    ("write", "query, readout", "weights, indices", "once, if asked for"),
    ("add", "losses", "counts, peaks, sums", "to the chunk's partial"),
)


def draw_tile() -> None:
    """What a forward pass does to a tile while it is in the cache."""
    d = Drawing(900, 316, "The stages of a tile")
    d.box(24, 20, 852, 44, "#e4e7eb")
    d.text(450, 47, "main memory: features, output", "middle", font_weight="bold")
    d.box(24, 112, 852, 184, THREADS[0], 0.08)
    d.text(450, 282, "second-level cache: one tile, the items, the chunk's partial sums", "middle")
    for index, (name, *lines) in enumerate(STAGES):
        x = 40 + index * 212
        d.box(x, 148, 184, 108, PAPER)
        d.text(x + 92, 172, name, "middle", font_weight="bold")
        for number, words in enumerate(lines):
            d.text(x + 92, 194 + 20 * number, words, "middle", font_size="14")
        if index + 1 < len(STAGES):
            d.line(x + 184, 206, x + 208, 206, arrow=True)
    d.line(132, 64, 132, 144, arrow=True)
    d.line(556, 148, 556, 68, arrow=True)
    d.text(142, 94, "read once")
    d.text(566, 94, "written once")
    d.write("kernels-tile.svg")


if __name__ == "__main__":
    draw_cut()
    draw_tile()
