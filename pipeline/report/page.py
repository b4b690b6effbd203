"""A report as one HTML file, which needs neither a network nor a server."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from hgg.groupings import TITLES
from hgg.predictor import Predictor
from pipeline.base.files import write_text
from pipeline.report import figures, quality, shown
from pipeline.report.compare import GROUPING, SAME, Change, Comparison, Other
from pipeline.report.gather import Evaluated, Report, gather
from pipeline.report.pictures import Shown, drawn, look_again
from pipeline.report.pieces import Section

TEMPLATE = Path(__file__).with_name("page.html")
REPORT = "report.html"
PLACE = re.compile("@(TITLE|NAV|BODY)@")


def write_report(
    folder: Path, evaluated: Evaluated, records: Path, predictor: Predictor, other: Other | None = None
) -> Path:
    """Write {folder}/report.html, and {folder}/explain/{image_id}.html of the pictures in it.

    Each file is whole or not there. A page holds at the most 12 of the best pictures, 12 of the worst and 12
    that changed most, however many images there are.

    Args:
        folder: of the evaluation.
        evaluated: what it found.
        records: of the split.
        predictor: of the model, for another look at the pictures that are shown.
        other: what it is compared with.

    Raises `UserError` where files of the other one are damaged.
    """
    most = evaluated.config.evaluate.report_pictures
    report = gather(evaluated, most, other)
    chosen = [each.image_id for each in (*report.best, *report.worst)]
    looked = look_again(predictor, records, chosen, folder)
    changed: dict[int, Shown] = {}
    if report.comparison is not None:
        people = {
            f"{TITLES[GROUPING]} here": evaluated.detections[GROUPING],
            f"{TITLES[GROUPING]} there": report.comparison.detections,
        }
        ids = [each.image_id for each in changed_most(report.comparison, most)]
        changed = drawn(records, evaluated.skeleton, people, ids)
    path = folder / REPORT
    write_text(path, page(report, looked, changed))
    return path


def changed_most(comparison: Comparison, most: int) -> list[Change]:
    """At the most so many images: the larger half of those that gained most, then those that lost most."""
    gained = [each for each in comparison.changes if each.gain > SAME][: (most + 1) // 2]
    lost = [each for each in comparison.changes if each.gain < -SAME]
    return gained + lost[len(lost) - min(len(lost), most // 2) :]


def page(report: Report, looked: Mapping[int, Shown], changed: Mapping[int, Shown]) -> str:
    """The page's text.

    Args:
        report: its figures.
        looked: the best and the worst images by id.
        changed: those that changed most beside another evaluation.
    """
    title = f"Evaluation of {report.name}"
    sections = _sections(report, looked, changed)
    links = "".join(f'<a href="#{each.name}">{escape(each.title)}</a>' for each in sections)
    body = "".join(
        f'<section aria-labelledby="{each.name}"><h2 id="{each.name}">{escape(each.title)}</h2>'
        f"{each.content}</section>"
        for each in sections
    )
    texts = {"TITLE": escape(title), "NAV": links, "BODY": body}
    # In one go: a name that reads as one of the places stays what it is.
    return PLACE.sub(lambda found: texts[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _sections(report: Report, looked: Mapping[int, Shown], changed: Mapping[int, Shown]) -> Sequence[Section]:
    compared = [shown.comparison(report, changed)] if report.comparison is not None else []
    return [
        figures.summary(report),
        figures.precision(report),
        *compared,
        figures.parts(report),
        quality.joints(report),
        quality.errors(report),
        quality.calibration(report),
        *shown.best_and_worst(report, looked),
        shown.images(report),
        quality.curves(report),
        figures.runtime(report),
        figures.settings(report),
    ]
