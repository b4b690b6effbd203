"""What a study made before its run root was moved or copied, known again where it lies now.

A sweep and a row of an ablation are named by all of their settings, and so by the places of files too. What
was made elsewhere has the name that the same settings had with the places of then.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from hgg.settings import Settings
from pipeline.base.errors import UserError
from pipeline.settings.config import RunConfig
from pipeline.settings.load import load_config

SomeSettings = TypeVar("SomeSettings", bound=Settings)

log = logging.getLogger(__name__)


def placed_as(config: SomeSettings, other: SomeSettings) -> SomeSettings:
    """Settings with the places of files that others have; all else stays."""
    updates: dict[str, Any] = {}
    for name in config.__class__.model_fields:
        value, theirs = getattr(config, name), getattr(other, name)
        if isinstance(value, Path) and isinstance(theirs, Path):
            updates[name] = theirs
        elif isinstance(value, Settings):
            updates[name] = placed_as(value, theirs)
    return config.model_copy(update=updates)


def made_elsewhere(run_root: Path, pattern: str) -> Iterator[tuple[Path, RunConfig]]:
    """Files of settings below a run root, by a pattern, that name another run root, and what they hold."""
    for path in sorted(run_root.glob(pattern)):
        try:
            config = load_config([path])
        except UserError as error:  # of another version of the code
            log.warning("passed over: %s", error)
            continue
        if config.run_root != run_root:
            yield path, config
