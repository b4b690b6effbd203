"""The grouping of a photograph as a strip of pictures: candidates, each round's merges, people (Fig. 5)."""

from collections.abc import Sequence

import cv2
import numpy as np

from hgg.draw import COLOURS, EDGE, draw_poses, side_by_side
from hgg.explain import Node, Step
from hgg.poses import Poses
from hgg.skeleton import COCO, Skeleton

GREY = (205, 205, 205)
DASH = 7.0  # pixels of a dash, and of the gap after it
RADIUS = 4


def draw_strip(
    image: np.ndarray,
    nodes: Sequence[Node],
    steps: Sequence[Step],
    poses: Poses,
    *,
    long_side: int = 480,
    skeleton: Skeleton = COCO,
) -> np.ndarray:
    """Panels in a row. A macro-node has the colour of the person that it ends in, in all of them.

    Merges of a round are dashed lines between the nearest candidates of the two macro-nodes, those of the
    rounds before are solid.

    Args:
        image: RGB uint8 (H, W, 3).
        nodes: candidates.
        steps: rounds that merged something.
        poses: the people that came out and are drawn, in the image's pixels.
        long_side: of a panel, in pixels; smaller images are enlarged and larger ones made smaller.
        skeleton: joint types.
    """
    zoom = long_side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
    points_N2 = np.array([(node.x, node.y) for node in nodes]).reshape(-1, 2)
    points_N2 = (points_N2 + 0.5) * zoom - 0.5
    member = steps[-1].member if steps else [*range(len(nodes))]
    colour_of = _colours(member)
    panels = [
        (_counted(len(nodes), "candidate"), _draw_nodes(_dimmed(small), points_N2, [GREY] * len(nodes)))
    ]
    lines: list[tuple[int, int]] = []
    before = [*range(len(nodes))]
    for number, step in enumerate(steps, start=1):
        canvas = _dimmed(small)
        colours = [_shade(colour_of, member[i], step.member, i) for i in range(len(nodes))]
        for first, second in lines:
            _line(canvas, points_N2[first], points_N2[second], colours[first], dashed=False)
        new = _merges(step, before, points_N2)
        for first, second in new:
            _line(canvas, points_N2[first], points_N2[second], colours[first], dashed=True)
        title = f"round {number}: {_counted(len(new), 'merge')}"
        panels.append((title, _draw_nodes(canvas, points_N2, colours)))
        lines += new
        before = step.member
    # Those of one candidate alone share a colour that no macro-node has.
    chosen = [colour_of.get(first, len(colour_of)) for first in _named(poses)]
    scaled = poses._replace(keypoints=poses.keypoints.copy())
    scaled.keypoints[..., :2] = (scaled.keypoints[..., :2] + 0.5) * zoom - 0.5
    people = draw_poses(small, scaled, long_side=long_side, min_score=0.0, colours=chosen, skeleton=skeleton)
    return side_by_side([*panels, ("people", people)])


def _colours(member: Sequence[int]) -> dict[int, int]:
    """Place in `COLOURS` of each final macro-node of two or more candidates, the largest first."""
    sizes = {node: member.count(node) for node in dict.fromkeys(member)}
    large = sorted((node for node, size in sizes.items() if size > 1), key=lambda node: -sizes[node])
    return {node: place for place, node in enumerate(large)}


def _shade(colour_of: dict[int, int], final: int, member: Sequence[int], index: int) -> tuple[int, int, int]:
    """Colour of a candidate after a round; grey until it is merged."""
    alone = member.count(member[index]) == 1
    return GREY if alone or final not in colour_of else COLOURS[colour_of[final] % len(COLOURS)]


def _named(poses: Poses) -> list[int]:
    """Each person's cluster, by its first candidate; -1 where people did not come of clusters."""
    return [-1] * len(poses.score) if poses.first is None else poses.first.tolist()


def _counted(number: int, what: str) -> str:
    """`1 merge`, `2 merges`."""
    return f"{number} {what}{'s' * (number != 1)}"


def _merges(step: Step, before: Sequence[int], points_N2: np.ndarray) -> list[tuple[int, int]]:
    """Nearest candidates of the macro-nodes that a round merged."""
    pairs = []
    for edge in step.edges:
        if edge.outcome != "merged":
            continue
        first, second = (np.flatnonzero(np.equal(before, node)) for node in (edge.first, edge.second))
        distance = np.linalg.norm(points_N2[first][:, None] - points_N2[second][None], axis=-1)
        a, b = np.unravel_index(distance.argmin(), distance.shape)
        pairs.append((int(first[a]), int(second[b])))
    return pairs


def _dimmed(image: np.ndarray) -> np.ndarray:
    """The photograph half as bright, so that lines stand out."""
    return (image * 0.5).astype(np.uint8)


def _draw_nodes(
    canvas: np.ndarray, points_N2: np.ndarray, colours: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    for point, colour in zip(points_N2, colours, strict=True):
        x, y = np.round(point).astype(int).tolist()
        cv2.circle(canvas, (x, y), RADIUS + 1, EDGE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, (x, y), RADIUS, colour, cv2.FILLED, cv2.LINE_AA)
    return canvas


def _line(
    canvas: np.ndarray, first: np.ndarray, second: np.ndarray, colour: tuple[int, int, int], *, dashed: bool
) -> None:
    """A line, or dashes that begin and end with one."""
    length = float(np.linalg.norm(second - first))
    pieces = max(1, round(length / DASH)) | 1 if dashed else 1
    ends = first + (second - first) * np.linspace(0, 1, pieces + 1)[:, None]
    for start, stop in zip(ends[::2], ends[1::2], strict=False):
        corners = [tuple(np.round(end).astype(int).tolist()) for end in (start, stop)]
        cv2.line(canvas, corners[0], corners[1], colour, 2, cv2.LINE_AA)
