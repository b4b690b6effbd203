"""A model as one file to hand on, with its card: this project's own, or for another runtime."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hgg.exported import CANDIDATES, save_program
from hgg.fixed import why_not_fixed
from hgg.model import HGG
from hgg.onnx_file import save_onnx
from hgg.weights import load_model, save_model
from pipeline.base.errors import UserError
from pipeline.base.files import atomic_path, sha256_file, write_text
from pipeline.evaluation.card import card_text, results_of
from pipeline.evaluation.trained import model_file
from pipeline.settings.config import RunConfig

Format = Literal["pt", "onnx", "torch"]
Precision = Literal["float32", "float16"]

SUFFIXES: dict[Format, str] = {"pt": ".pt", "onnx": ".onnx", "torch": ".pt2"}
USE: dict[Format, str] = {
    "pt": "",
    "onnx": "Use: `python jobs/predict.py --checkpoint {name} --source photos/ --out people/`, "
    '`hgg.load("{name}")`, or any runtime of ONNX: the metadata `about` of the file says what goes in and '
    "comes out.",
    "torch": 'Use: `torch.export.load("{name}").module()`, by torch alone; its extra file `about.json` says '
    "what goes in and comes out. torch may run what is in such a file: load one of people whom you trust.",
}
"""What a card says of how a file is used, where it is not as any other."""
MOST_CANDIDATES = 4096  # as many as `candidates.max_total`

log = logging.getLogger(__name__)


class Exported(NamedTuple):
    """How a model is written."""

    format: Format = "pt"
    """This project's own; ONNX; or a program of torch.export."""
    precision: Precision | None = None
    """Of the weights; None is float16 of pt, float32 of the others."""
    candidates: int | None = None
    """Of a picture in the graph of onnx or torch; 0 leaves the grouping out, None is 128."""

    @property
    def half(self) -> bool:
        """Whether weights are rounded to float16."""
        return self.precision == "float16" or (self.precision is None and self.format == "pt")


def export_model(config: RunConfig, target: Path, how: Exported = Exported()) -> dict[str, Any]:  # noqa: B008
    """Write the evaluated model to `target`, and a card beside it, named .md.

    Raises:
        UserError: the model is missing, was not evaluated, or cannot be written so; or `target` is there
            already.
    """
    _check(target, how)
    source, card = model_file(config), target.with_suffix(".md")
    for path in (target, card):
        if path.exists():
            raise UserError(f"--out={target}: {path} exists: choose another name, or move it away")
    results = results_of(config, source)
    try:
        model = load_model(source)
        write, told = _writer(model, how)
        with atomic_path(target) as temporary:
            write(temporary)
    except ValueError as error:
        raise UserError(str(error)) from error
    use = USE[how.format].format(name=target.name)
    write_text(card, card_text(target.name, target.name, model, results, half=how.half, use=use))
    return {
        "file": str(target),
        "card": str(card),
        "bytes": target.stat().st_size,
        "sha256": sha256_file(target),
        **told,
    }


def _check(target: Path, how: Exported) -> None:
    """Raise `UserError` where what was asked for does not go together."""
    if how.format != "pt" and target.suffix != SUFFIXES[how.format]:
        raise UserError(f"--out={target}: a file of --format {how.format} is named *{SUFFIXES[how.format]}")
    if how.format == "pt" and target.suffix in (SUFFIXES["onnx"], SUFFIXES["torch"]):
        other = "onnx" if target.suffix == SUFFIXES["onnx"] else "torch"
        raise UserError(f"--out={target}: give --format {other} too, or name it *.pt")
    if how.candidates is not None and how.format == "pt":
        raise UserError(
            f"--candidates={how.candidates}: a .pt file has any number of them: leave it out, or give "
            "--format onnx or torch"
        )
    if how.candidates is not None and not 0 <= how.candidates <= MOST_CANDIDATES:
        raise UserError(f"--candidates={how.candidates}: a whole number from 0 to {MOST_CANDIDATES}")


def _writer(model: HGG, how: Exported) -> tuple[Callable[[Path], None], dict[str, Any]]:
    """What writes a model to a file, and what of it belongs into the results."""
    if how.format == "pt":
        return partial(save_model, model=model, half=how.half), {}
    number = CANDIDATES if how.candidates is None else how.candidates
    if number and (problem := why_not_fixed(model)):
        if how.candidates is not None:
            raise ValueError(f"--candidates={number}: {problem}, which no graph holds: give --candidates 0")
        log.warning("export: the file has the network alone, without people: %s", problem)
        number = 0
    save = save_onnx if how.format == "onnx" else save_program
    return partial(save, model=model, number=number, half=how.half), {
        "format": how.format,
        "precision": "float16" if how.half else "float32",
        "candidates": number,
    }
