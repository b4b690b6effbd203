"""What was seen of a data set as one HTML file, which needs neither a network nor a server."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.base.files import write_text
from pipeline.data.rejects import by_reason
from pipeline.inspection.look import Found, Looked
from pipeline.inspection.suspects import SEVERITIES

TEMPLATE = Path(__file__).with_name("inspect.html")
LISTED = 50  # left-out images of each split
SIZES = (0, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # pixels
MEANING = {
    "wrong": "figures come out wrong where these are what they look like",
    "doubtful": "perhaps a slip; perhaps an unusual pose",
    "note": "nothing wrong: only to be known",
}


def write_page(path: Path, title: str, splits: Sequence[Looked]) -> None:
    """Write the page, whole or not at all."""
    body = "".join(_split(looked) for looked in splits)
    page = TEMPLATE.read_text(encoding="utf-8")
    write_text(path, page.replace("@TITLE@", escape(title)).replace("@BODY@", body))


def _split(looked: Looked) -> str:
    parts = [
        f'<section id="{escape(looked.split)}"><h2>{escape(looked.split)}</h2>',
        _facts(looked),
        _remarks(looked),
        _suspects(looked),
        _left_out(looked),
        _grid(looked),
        "</section>",
    ]
    return "".join(parts)


def _facts(looked: Looked) -> str:
    boxes = looked.counts["people_without_joints"]
    rows = {
        "images": f"{looked.images:,}"
        + (f", {looked.looked:,} looked at" if looked.looked < looked.images else ""),
        "people with labelled joints": f"{looked.people:,}",
        "people without": f"{boxes:,}",
        "left out by preprocessing": f"{len(looked.rejected):,} images",
        "skeleton": f"{looked.skeleton.name}, {looked.skeleton.count} joints",
    }
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    people = looked.people_per_image
    per_image = {str(count): people[count] for count in range(max(people, default=0) + 1) if people[count]}
    counts, _ = np.histogram(looked.sizes, bins=[*SIZES, np.inf])
    names = [f"{low} to {high}" for low, high in pairwise(SIZES)] + [f"above {SIZES[-1]}"]
    sizes = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
    joints = dict(zip(looked.skeleton.names, looked.joints.tolist(), strict=True))
    charts = [
        _bars("People an image", per_image, "images"),
        _bars("Longer side of a person's box, pixels", sizes, "people"),
        _bars("People who have each joint labelled", joints, "people", of=looked.people),
    ]
    return f'<div class="facts"><table>{table}</table>{"".join(charts)}</div>'


def _bars(title: str, values: Mapping[str, int], unit: str, of: int = 0) -> str:
    """Horizontal bars with their numbers beside them; with `of`, the share of it too."""
    most = max(values.values(), default=0) or 1
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td><i style='width:{100 * value / most:.1f}%'></i></td>"
        f"<td class='number'>{value:,}{f' ({100 * value / of:.0f} %)' if of else ''}</td></tr>"
        for name, value in values.items()
    )
    caption = f"<figcaption>{escape(title)} ({unit})</figcaption>"
    return f'<figure>{caption}<table class="bars">{rows}</table></figure>'


def _remarks(looked: Looked) -> str:
    said = [(note, False) for note in looked.notes] + [(each.text, each.warns) for each in looked.remarks]
    lines = "".join(f"<li{' class=wrong' if warns else ''}>{escape(text)}</li>" for text, warns in said)
    return f"<h3>What preprocessing says</h3><ul>{lines or '<li>nothing</li>'}</ul>"


def _suspects(looked: Looked) -> str:
    parts = ["<h3>Labels to look at</h3>"]
    for severity in SEVERITIES:
        kinds = {
            kind: [found for found in all_of if found.suspect.severity == severity]
            for kind, all_of in looked.kinds.items()
        }
        parts += [_kind(severity, kind, found) for kind, found in sorted(kinds.items()) if found]
    return "".join(parts) if len(parts) > 1 else f"{parts[0]}<p>None was found.</p>"


def _kind(severity: str, kind: str, found: Sequence[Found]) -> str:
    shown = [each for each in found if each.jpeg is not None]
    more = f"<p>The first {len(shown)} of {len(found)}.</p>" if len(shown) < len(found) else ""
    pictures = "".join(
        _picture(each.jpeg or b"", f"{each.file_name}: {_who(each)}{each.suspect.text}") for each in shown
    )
    is_open = " open" if severity != "note" else ""
    said = f"<b>{len(found)}</b> {escape(kind)} <em>{severity}: {MEANING[severity]}</em>"
    return (
        f'<details class="{severity}"{is_open}><summary>{said}</summary>'
        f"{more}<div class=pictures>{pictures}</div></details>"
    )


def _who(found: Found) -> str:
    person = found.suspect.people[0]
    return f"annotation {person.annotation}: " if len(found.suspect.people) == 1 and person.annotation else ""


def _left_out(looked: Looked) -> str:
    if not looked.rejected:
        return "<h3>What preprocessing would leave out</h3><p>Nothing.</p>"
    reasons = ", ".join(f"{count} {reason}" for reason, count in by_reason(looked.rejected).items())
    rows = _rows(
        (each.file_name or str(each.image_id), each.reason, each.detail) for each in looked.rejected[:LISTED]
    )
    more = f"<p>The first {LISTED}.</p>" if len(looked.rejected) > LISTED else ""
    return (
        f"<h3>What preprocessing would leave out</h3><p>{escape(reasons)}.</p>{more}"
        f"<table class=list><tr><th>image</th><th>reason</th><th>what was found</th></tr>{rows}</table>"
    )


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)


def _grid(looked: Looked) -> str:
    pictures = "".join(
        _picture(each.jpeg, f"{each.file_name}: {each.people} {'person' if each.people == 1 else 'people'}")
        for each in looked.grid
    )
    return f"<h3>Pictures with their labels</h3><div class=pictures>{pictures}</div>"


def _picture(jpeg: bytes, text: str) -> str:
    data = base64.b64encode(jpeg).decode()
    return (
        f'<figure class="picture"><img loading="lazy" alt="" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )
