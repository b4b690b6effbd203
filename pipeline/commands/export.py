"""A model as one small file to hand on, with its card."""

from pathlib import Path
from typing import Any

from hgg.weights import load_model, save_model
from pipeline.base.errors import UserError
from pipeline.base.files import atomic_path, sha256_file, write_text
from pipeline.evaluation.card import card_text, results_of
from pipeline.evaluation.trained import model_file
from pipeline.settings.config import RunConfig


def export_model(config: RunConfig, target: Path) -> dict[str, Any]:
    """Write the evaluated model to `target` in half precision, and a card beside it, named .md.

    Raises:
        UserError: the model is missing, was not evaluated, or `target` is there already.
    """
    source, card = model_file(config), target.with_suffix(".md")
    for path in (target, card):
        if path.exists():
            raise UserError(f"--out={target}: {path} exists: choose another name, or move it away")
    results = results_of(config, source)
    try:
        model = load_model(source)
        with atomic_path(target) as temporary:
            save_model(temporary, model, half=True)
    except ValueError as error:
        raise UserError(str(error)) from error
    write_text(card, card_text(target.name, target.name, model, results, half=True))
    return {
        "file": str(target),
        "card": str(card),
        "bytes": target.stat().st_size,
        "sha256": sha256_file(target),
    }
