"""The sections of a report that hold pictures, and the one that compares."""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from hgg.groupings import TITLES
from pipeline.metrics.ap import FIGURES
from pipeline.report.compare import SAME, Change, Comparison
from pipeline.report.gather import Report
from pipeline.report.images import MEANING, ImageFigures
from pipeline.report.pictures import Shown
from pipeline.report.pieces import (
    Cell,
    Head,
    Section,
    data_url,
    difference,
    facts,
    figure_of,
    paragraph,
    signed,
    table,
    value_of,
)

LISTED = 500
"""Images in the table of all of them: the worst ones."""
NO_PICTURES = "No pictures are shown (evaluate.report_pictures=0)."


def best_and_worst(report: Report, shown: Mapping[int, Shown]) -> list[Section]:
    """The best images and the worst ones."""
    sections = []
    for name, chosen in (("best", report.best), ("worst", report.worst)):
        text = f"By HGG's agreement. {MEANING} Numbers on people are scores." if chosen else NO_PICTURES
        figures = "".join(_figure(shown[each.image_id], _said(each)) for each in chosen)
        sections.append(Section(name, f"The {name} pictures", paragraph(text, "soft") + figures))
    return sections


def images(report: Report) -> Section:
    """Every image with people, the worst first."""
    chosen = sorted(report.images, key=lambda each: (each.agreement["hgg"], each.image_id))[:LISTED]
    names = [*report.calibration]
    rows = [
        [
            str(each.image_id),
            str(each.people),
            *(str(each.found[name]) for name in names),
            *(figure_of(each.agreement[name]) for name in names),
        ]
        for each in chosen
    ]
    titles = [TITLES[name] for name in names]
    of = len(report.images)
    caption = f"{len(chosen):,} of {of:,} images with people, HGG's worst first"
    groups = [("", 1), ("people found", len(names)), ("agreement", len(names))]
    content = table(caption, ["image", "people", *titles, *titles], rows, groups=groups, sortable=True)
    return Section(
        "images",
        "Image by image",
        f"<details><summary>The table; the head of a column sorts by it</summary>{content}</details>",
    )


def comparison(report: Report, shown: Mapping[int, Shown]) -> Section:
    """The evaluation beside another one."""
    beside = report.comparison
    assert beside is not None
    there = beside.other.results
    rows = [
        ("compared with", str(beside.other.folder)),
        ("its model", f"{there.get('model')} (SHA-256 {str(there.get('model_sha256'))[:12]})"),
        ("its command", str(there.get("command"))),
        ("its commit", str(there.get("commit"))),
    ]
    warning = f'<p class="warning" role="note"><b>Not comparable.</b> {escape(beside.apart)}</p>'
    pieces = [facts(rows), warning if beside.apart else "", _figures(report, beside), _kinds(report, beside)]
    pieces.append(_by_image(beside, shown))
    differing = [[key, value_of(here), value_of(other)] for key, here, other in beside.settings]
    if differing:
        caption = "Settings that differ between the two"
        pieces.append(table(caption, ["", "here", "there"], differing, words=3))
    return Section("compared", "Compared with another run", "".join(pieces))


def _figures(report: Report, beside: Comparison) -> str:
    """AP and AR of each grouping, here and there."""
    here, there = report.results["ap"], beside.other.results["ap"]
    rows: list[Sequence[Cell] | Head] = []
    both = [name for name in here if name in there]
    shown = [name for name in FIGURES if all(name in each[key] for each in (here, there) for key in both)]
    for name in both:
        rows.append(Head(TITLES[name]))
        rows.append(["here", *(figure_of(here[name][each]) for each in shown)])
        rows.append(["there", *(figure_of(there[name][each]) for each in shown)])
        if not beside.apart:
            differences = (difference(here[name][each], there[name][each]) for each in shown)
            rows.append(["difference", *differences])
    return table("AP and AR, here and there", ["", *shown], rows)


def _kinds(report: Report, beside: Comparison) -> str:
    """AP by kind of image, here and there; nothing where they do not compare."""
    if beside.apart:
        return ""
    there = {row["part"]: row for row in beside.other.results["diagnosis"]}
    titles = [TITLES[name] for name in ("ae", "hgg")]
    rows = []
    for row in report.results["diagnosis"]:
        other = there.get(row["part"], {})
        pairs = [(row[title], other.get(title)) for title in titles]
        cells = [text for a, b in pairs for text in (figure_of(a), figure_of(b), difference(a, b))]
        rows.append([row["part"], *cells])
    columns = ["", *("here", "there", "difference") * len(titles)]
    return table("AP by kind of image", columns, rows, groups=[(title, 3) for title in titles])


def _by_image(beside: Comparison, shown: Mapping[int, Shown]) -> str:
    """How many images are better and worse, and pictures of those that changed most."""
    if not beside.changes:
        return ""
    of = len(beside.changes)
    text = (
        f"HGG's agreement, image by image, over {of:,} images with people that both looked at: "
        f"better here in {beside.better:,}, worse in {beside.worse:,}, the same to {SAME:g} in "
        f"{of - beside.better - beside.worse:,}; {signed(_mean_gain(beside.changes))} on average."
    )
    changed = [each for each in beside.changes if each.image_id in shown]
    pictures = "".join(_figure(shown[each.image_id], _change(each)) for each in changed)
    note = "People of these pictures are those of the result files, with every joint, whatever its value."
    heading = "<h3>The pictures that changed most</h3>" + paragraph(note, "soft") if changed else ""
    return f"<h3>Image by image</h3>{paragraph(text)}{heading}{pictures}"


def _mean_gain(changes: Sequence[Change]) -> float:
    return sum(each.gain for each in changes) / len(changes)


def _change(each: Change) -> str:
    word = "better" if each.gain > 0 else "worse"
    figures = f"HGG {each.here:.3f} here, {each.there:.3f} there"
    return f"{_people(each.people)}; {figures}: {word} by {abs(each.gain):.3f}"


def _said(each: ImageFigures) -> str:
    figures = ", ".join(f"{TITLES[name]} {value:.3f}" for name, value in each.agreement.items())
    return f"{_people(each.people)}; {figures}"


def _people(count: int) -> str:
    return f"{count} person" if count == 1 else f"{count} people"


def _figure(shown: Shown, said: str) -> str:
    """A picture's panels under what is said of it, and the way to the page that explains it."""
    name = escape(shown.file_name)
    panels = "".join(
        f'<div><span>{escape(panel.title)}</span><img loading="lazy" src="{data_url(panel.jpeg)}" '
        f'alt="{name}: {escape(panel.title)}; {escape(said)}"></div>'
        for panel in shown.panels
    )
    link = ""
    if shown.explained:
        link = f' <a href="{escape(quote(shown.explained))}">the grouping of {name}, round by round</a>'
    return (
        f'<figure class="picture"><figcaption><b>{name}</b> {escape(said)}.{link}</figcaption>'
        f'<div class="panels">{panels}</div></figure>'
    )
