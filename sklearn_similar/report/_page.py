"""A report as HTML. All texts from outside are escaped here, and nowhere else."""

import json
import re
from html import escape
from importlib.resources import files
from pathlib import Path

from .._images.messages import count
from .._saving.files import write_atomically
from .._version import __version__
from ._contents import Confusion, Contents, Mark, Picture

# Nothing is loaded from anywhere, whatever a label or a name may hold.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
# Small images are drawn larger, by a whole number.
_MIN_WIDTH = 112
# Percents of the height above a box that its label needs.
_MIN_ROOM = 12


def write_page(contents: Contents, path: Path) -> None:
    """Write a report, or leave what is there as it is."""
    # What is in no encoding, such as bytes in the name of a file, becomes a mark.
    write_atomically(path, page_of(contents).encode("utf-8", "replace"))


def page_of(contents: Contents) -> str:
    """The text of an HTML file."""
    folder = files(__package__)
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    data = {
        "names": [picture.name for picture in contents.pictures],
        "columns": contents.columns,
        "rows": contents.rows,
    }
    has_heat = any(picture.heat for picture in contents.pictures)
    gallery = "\n".join(
        _figure(number, picture) for number, picture in enumerate(contents.pictures)
    )
    parts = [
        _facts(contents),
        _confusion(contents.confusion),
        _controls(contents, has_heat),
        f'<section id="gallery" aria-label="Images">\n{gallery}\n</section>',
        _table(contents),
        _importances(contents),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{_title(contents)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{_title(contents)}</h1>
<details><summary>Estimator</summary><pre>{escape(contents.estimator)}</pre></details>
</header>
<main>
{"".join(part + chr(10) for part in parts if part)}</main>
<footer>Written by sklearn_similar {escape(__version__)}</footer>
<script type="application/json" id="data">{_json(data)}</script>
<script>
{script}</script>
</body>
</html>
"""


def _natural(text: str) -> list:
    """Key of an order in which 2 comes before 10."""
    parts = re.split("([0-9]+)", text)
    return [int(part) if n % 2 else part for n, part in enumerate(parts)]


def _json(data) -> str:
    """JSON that cannot end the script element that it is in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _title(contents: Contents) -> str:
    name = contents.estimator.split("(", 1)[0]
    return f"{escape(name[:80])}: {count(len(contents.pictures), 'image')}"


def _facts(contents: Contents) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in contents.facts.items()
    )
    return f'<dl id="facts">{items}</dl>'


def _controls(contents: Contents, has_heat: bool) -> str:
    labels = sorted({row[1] for row in contents.rows}, key=_natural)
    choices = [_choice("label", "Label", labels)]
    if "status" in contents.columns:
        present = {row[-1] for row in contents.rows}
        order = [name for name in ("right", "false", "missed") if name in present]
        choices.append(_choice("status", "Status", order))
    heat = ""
    if has_heat:
        heat = '<label><input type="checkbox" id="heat"> Heat</label>'
    return f"""<form id="controls" aria-label="Filter">
<label>Search <input type="search" id="search" placeholder="image or label"></label>
{"".join(choices)}
<label>Score at least <input type="number" id="score" min="0" max="1" step="0.05">\
</label>
{heat}
<output id="count"></output>
</form>"""


def _choice(name: str, title: str, values: list[str]) -> str:
    options = "".join(
        f'<option value="{escape(value)}">{escape(value)}</option>' for value in values
    )
    return (
        f'<label>{title} <select id="{name}"><option value="" data-all>all</option>'
        f"{options}</select></label>"
    )


def _figure(number: int, picture: Picture) -> str:
    width, height = picture.size
    is_small = max(width, height) < _MIN_WIDTH
    enlarged = width * -(-_MIN_WIDTH // max(width, height)) if is_small else width
    marks = "".join(_mark(mark) for mark in picture.marks)
    heat = ""
    if picture.heat:
        heat = f'<img class="heat" alt="" loading="lazy" src="{picture.heat}">'
    status = f" {picture.status}" if picture.status else ""
    return (
        f'<figure id="image-{number}" class="{"small" if is_small else "large"}'
        f'{status}" style="max-width:{enlarged}px">'
        f'<div class="frame" style="aspect-ratio:{width}/{height}">'
        f'<img alt="{escape(picture.name)}" loading="lazy" src="{picture.source}">'
        f"{heat}{marks}</div><figcaption><b>{escape(picture.name)}</b> "
        f"{escape(picture.caption)}</figcaption></figure>"
    )


def _mark(mark: Mark) -> str:
    left, top, right, bottom = (100 * share for share in mark.box)
    place = " top" if top < _MIN_ROOM else ""
    return (
        f'<span class="box {mark.status or "found"}{place}" style="left:{left:.2f}%;'
        f"top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
        f'"><i>{escape(mark.text)}</i></span>'
    )


def _table(contents: Contents) -> str:
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>'
        for name in contents.columns
    )
    return f"""<section>
<h2>Table</h2>
<div class="scroll"><table id="rows"><thead><tr>{heads}</tr></thead><tbody></tbody>
</table></div>
<button type="button" id="more" hidden>More rows</button>
<noscript>The table needs JavaScript, which is in this file.</noscript>
</section>"""


def _confusion(confusion: Confusion | None) -> str:
    if confusion is None:
        return ""
    heads = "".join(
        f'<th scope="col">{escape(name)}</th>' for name in confusion.predicted
    )
    rows = []
    for number, (name, counts) in enumerate(
        zip(confusion.true, confusion.counts.tolist(), strict=True)
    ):
        cells = "".join(
            f"<td{_kind(value, number == column)}>{value or ''}</td>"
            for column, value in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return f"""<details id="confusion" open><summary>Confusion</summary>
<div class="scroll"><table><caption>Rows are true labels, columns predicted ones\
</caption>
<thead><tr><td></td>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
</details>"""


def _kind(value: int, is_diagonal: bool) -> str:
    if not value:
        return ""
    return ' class="right"' if is_diagonal else ' class="false"'


def _importances(contents: Contents) -> str:
    if not contents.importances:
        return ""
    largest = max(abs(item.value) for item in contents.importances) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(item.name)}</th><td>{item.value:.4g}</td>'
        f'<td class="bar"><div class="{"less" if item.value < 0 else "more"}" '
        f'style="width:{100 * abs(item.value) / largest:.1f}%"></div></td></tr>'
        for item in contents.importances
    )
    n_listed = len(contents.importances)
    listed = (
        ""
        if n_listed == contents.n_filters
        else f", {n_listed} of {contents.n_filters}"
    )
    return f"""<section id="importances">
<h2>Filter importances{listed}</h2>
<p>How much the error on held-out images grows without each filter.</p>
<div class="scroll"><table><tbody>{rows}</tbody></table></div>
</section>"""
