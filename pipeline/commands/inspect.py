"""A data set's page from the job's side: both splits looked at, one file written."""

import logging
from typing import Any

from pipeline.data.formats import check_layout
from pipeline.data.rejects import by_reason
from pipeline.inspection.look import Looked, look_at
from pipeline.inspection.page import write_page
from pipeline.settings.config import RunConfig

log = logging.getLogger(__name__)


def run_inspection(config: RunConfig, images: int) -> dict[str, Any]:
    """Write {run_root}/inspect/index.html; returns its place, and what was counted in each split.

    Args:
        config: of the data.
        images: pictures of each split that are opened; 0 is all.

    Raises `UserError` where annotations or pictures are not there or are none.
    """
    splits = list(dict.fromkeys([config.data.train_split, config.data.val_split]))
    for split in splits:
        check_layout(config.data, split)
    looked = [look_at(config, split, images) for split in splits]
    page = config.run_root / "inspect" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_page(page, f"Labels of {config.data.root}", looked)
    log.info("written: %s", page)
    return {"page": str(page), "splits": {each.split: _summary(each) for each in looked}}


def _summary(looked: Looked) -> dict[str, Any]:
    return {
        "images": looked.images,
        "looked_at": looked.looked,
        "people": looked.people,
        "rejected": by_reason(looked.rejected),
        "suspects": {kind: len(found) for kind, found in looked.kinds.items()},
    }
