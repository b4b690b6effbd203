"""People drawn over their image: one colour a person, skeleton, joints, score.

Letters: P people, J joint types.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from hgg.poses import MIN_SCORE, Poses
from hgg.skeleton import COCO, Skeleton

COLOURS: tuple[tuple[int, int, int], ...] = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
    (255, 255, 255),
)
"""RGB by person: the palette of Okabe and Ito (Color Universal Design, 2008), white in place of its black,
told apart with red-green blindness too; the ninth person has the first one's again."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
EDGE = (20, 20, 20)  # dark rim that sets lines and letters off from a bright image
FONT_SCALE = 0.42
TITLE_HEIGHT = 28  # pixels
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
FAR = 1e5  # pixels; OpenCV's coordinates are 32-bit


def draw_poses(
    image: np.ndarray,
    poses: Poses,
    *,
    long_side: int = 640,
    min_joint: float = 0.1,
    min_joints: int = 3,
    min_score: float = MIN_SCORE,
    scores: bool = True,
    colours: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    skeleton: Skeleton = COCO,
) -> np.ndarray:
    """A copy of the image with people on it.

    Args:
        image: RGB uint8 (H, W, 3).
        poses: people in the image's pixels.
        long_side: smaller images are first enlarged to this longer side, so that the drawing is legible.
        min_joint: joints whose score is below are not drawn; filled ones often are guesses.
        min_joints: people with fewer joints to draw are left out.
        min_score: people whose score is below are left out; most grew from one stray candidate.
        scores: whether each person's score is written beside it.
        colours: index into `COLOURS` of each person; by default in order.
        labels: what is written beside each person in the place of its score.
        skeleton: the people's joint types.

    Returns: RGB uint8, enlarged where the image is small.
    """
    enlarge = max(1.0, long_side / max(image.shape[:2]))
    height, width = (round(side * enlarge) for side in image.shape[:2])
    canvas = (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) if enlarge > 1 else image.copy()
    )
    chosen = range(len(poses.score)) if colours is None else colours
    # The best last, so that it lies on top.
    for person in np.argsort(poses.score, kind="stable"):
        joints_J3 = poses.keypoints[person].astype(np.float64)
        seen = joints_J3[:, 2] >= max(min_joint, np.finfo(np.float32).tiny)
        if seen.sum() < max(1, min_joints) or poses.score[person] < min_score:
            continue
        # A pixel's centre stays its centre when the image grows.
        points_J2 = (joints_J3[:, :2] + 0.5) * enlarge - 0.5
        colour = COLOURS[chosen[person] % len(COLOURS)]
        _draw_person(canvas, points_J2, seen, colour, skeleton)
        if scores:
            text = f"{poses.score[person]:.2f}" if labels is None else labels[person]
            _write_label(canvas, text, points_J2[seen], colour)
    return canvas


def _draw_person(
    canvas: np.ndarray, points_J2: np.ndarray, seen: np.ndarray, colour: Sequence[int], skeleton: Skeleton
) -> None:
    size = float(np.ptp(points_J2[seen], axis=0).max())
    thickness = int(np.clip(round(size / 70), 1, 5))
    limbs = [limb for limb in skeleton.limbs if seen[limb[0]] and seen[limb[1]]]
    # All rims first: a rim over the person's own lines would cut them.
    for rim, shade in ((2, EDGE), (0, colour)):
        for first, second in limbs:
            ends = (_fixed(points_J2[first]), _fixed(points_J2[second]))
            cv2.line(canvas, *ends, shade, thickness + rim, cv2.LINE_AA, SHIFT)
    for point in points_J2[seen]:
        radius = (thickness + 1) << SHIFT
        cv2.circle(canvas, _fixed(point), radius + (1 << SHIFT), EDGE, cv2.FILLED, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, _fixed(point), radius, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """A position in OpenCV's fixed-point coordinates."""
    x, y = np.round(np.clip(point, -FAR, FAR) * (1 << SHIFT)).astype(int).tolist()
    return x, y


def _write_label(canvas: np.ndarray, text: str, points: np.ndarray, colour: Sequence[int]) -> None:
    """A small label above the person's highest joint, kept inside the image."""
    (width, height), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    top = points[points[:, 1].argmin()]
    x = int(np.clip(top[0] - width / 2, 2, max(2, canvas.shape[1] - width - 3)))
    y = int(np.clip(top[1] - 9, height + 3, max(height + 3, canvas.shape[0] - 4)))
    cv2.rectangle(canvas, (x - 2, y - height - 3), (x + width + 2, y + 3), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x, y), FONT, FONT_SCALE, EDGE, 1, cv2.LINE_AA)


def colours_like(poses: Poses, truth: Poses) -> list[int]:
    """Colour of each person so that it is its nearest true person's: `truth` drawn in order matches.

    People are paired one to one by the mean distance of the joints that both have; those left over get
    colours after the truth's.
    """
    both_PQJ = (poses.keypoints[:, None, :, 2] > 0) & (truth.keypoints[None, :, :, 2] > 0)
    offsets = poses.keypoints[:, None, :, :2] - truth.keypoints[None, :, :, :2]
    distance_PQJ = np.where(both_PQJ, np.linalg.norm(offsets, axis=-1), 0.0)
    mean_PQ = np.where(both_PQJ.any(-1), distance_PQJ.sum(-1) / np.maximum(both_PQJ.sum(-1), 1), FAR)
    pairs = dict(zip(*(index.tolist() for index in linear_sum_assignment(mean_PQ)), strict=True))
    spare = iter(range(len(truth.score), len(truth.score) + len(poses.score)))
    return [pairs[person] if person in pairs else next(spare) for person in range(len(poses.score))]


def side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Images of one height in a row, each under its title."""
    titled = []
    for title, image in panels:
        bar = np.full((TITLE_HEIGHT, image.shape[1], 3), 255, np.uint8)
        cv2.putText(bar, title, (6, TITLE_HEIGHT - 9), FONT, 0.55, EDGE, 1, cv2.LINE_AA)
        titled.append(np.vstack([bar, image]))
    return np.hstack(titled)


def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images one below the other, each scaled to the width of the narrowest."""
    width = min(image.shape[1] for image in images)
    return np.vstack([_to_width(image, width) for image in images])


def _to_width(image: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return (
        image if image.shape[1] == width else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    )
