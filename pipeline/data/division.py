"""One annotation file and no split: which of its images are validated on."""

import hashlib

from pipeline.base.errors import UserError
from pipeline.data.coco_file import Coco
from pipeline.settings.data import DataConfig

BITS = 64


def divided(coco: Coco, data: DataConfig, split: str) -> Coco:
    """The images of a split: all of the file, or by `data.val_share` a part that the image's id decides.

    So an image stays in its split whatever else is added to the file, or taken away.

    Raises `UserError` where no image would be left.
    """
    if not data.val_share or split not in (data.train_split, data.val_split):
        return coco
    validated = split == data.val_split
    images = [image for image in coco.images if is_validated(image.image_id, data.val_share) == validated]
    if coco.images and not images:
        raise UserError(
            f"data.val_share={data.val_share:g}: of {len(coco.images)} images none comes into {split}: "
            "choose another share, or name a file for each split"
        )
    rejected = [each for each in coco.rejected if is_validated(each.image_id, data.val_share) == validated]
    return coco._replace(images=images, rejected=rejected)


def is_validated(image_id: int, share: float) -> bool:
    """Whether an image is in the part that is validated on; about such a share of all are."""
    digest = hashlib.sha256(str(image_id).encode()).digest()
    return int.from_bytes(digest[: BITS // 8], "big") < share * 2**BITS
