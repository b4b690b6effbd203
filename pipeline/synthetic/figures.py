"""Drawing of one synthetic person: parts in depth order, self-occlusion.

Each part is a hull of two or more circles. Parts are painted from the farthest to the
nearest at twice the resolution; the fourth channel of the canvas holds the part's number,
so that the silhouette and what hides a joint are read off the same picture.
"""

from typing import NamedTuple

import cv2
import numpy as np

from pipeline.synthetic.bodies import HEAD_RADIUS, Body
from pipeline.synthetic.clothes import Clothes, Colour, shaded

Array = np.ndarray

OVERSAMPLING = 2  # canvas pixels per picture pixel
SHIFT = 4  # binary digits of the sub-pixel coordinates that OpenCV takes

HEAD, TORSO = 1, 2
ARM_LEFT, ARM_RIGHT, LEG_LEFT, LEG_RIGHT = 3, 4, 5, 6
OWN_PARTS: tuple[tuple[int, ...], ...] = (
    *((HEAD,),) * 5,
    *((ARM_LEFT, TORSO), (ARM_RIGHT, TORSO), (ARM_LEFT,), (ARM_RIGHT,), (ARM_LEFT,), (ARM_RIGHT,)),
    *((LEG_LEFT, TORSO), (LEG_RIGHT, TORSO), (LEG_LEFT,), (LEG_RIGHT,), (LEG_LEFT,), (LEG_RIGHT,)),
)
"""Per joint type the parts that show it: another part at its pixel hides it."""


class Figure(NamedTuple):
    """A drawn person, cut to the part of the picture that it touches."""

    corner: tuple[int, int]
    """x, y of the first pixel in the picture."""
    paint: Array
    """(h, w, 3) float32 colours, already multiplied by `alpha`."""
    alpha: Array
    """(h, w) float32, 0 to 1."""
    joints: Array
    """(17, 2) pixels of the picture."""
    visibility: Array
    """(17,) 2 visible, 1 hidden by the person itself, 0 turned away (face)."""


class Part(NamedTuple):
    """A convex hull of circles, or the head."""

    depth: float
    number: int
    centres: Array
    """(n, 2) canvas pixels."""
    radii: tuple[float, ...]
    colour: Colour


def draw_figure(
    body: Body, clothes: Clothes, pelvis: Array, height: float, size: tuple[int, int]
) -> Figure | None:
    """Draw a person whose pelvis lies at a pixel of a picture of (width, height) `size`.

    Returns None where nothing of the person's surroundings lies inside the picture.
    """
    joints = body.joints[:, :2] * height + pelvis
    margin = 0.16 * height
    low = np.maximum(np.floor(joints.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(joints.max(axis=0) + margin), size).astype(int)
    if (high - low < 2).any():
        return None
    # A canvas pixel is half a picture pixel: the centre of picture pixel c is canvas position 2c + 0.5.
    offset = (pelvis - low) * OVERSAMPLING + (OVERSAMPLING - 1) / 2
    scale = height * OVERSAMPLING
    width_height = (high - low) * OVERSAMPLING
    canvas = np.zeros((width_height[1], width_height[0], 4), np.uint8)
    for part in sorted(_parts(body, clothes, scale, offset), key=lambda p: p.depth):
        if part.number == HEAD:
            _draw_head(canvas, body, clothes, scale, offset)
        else:
            _draw_hull(canvas, part, outline=max(1.0, 0.006 * scale))
    covered = (canvas[..., 3] > 0).astype(np.float32)
    small = (int(high[0] - low[0]), int(high[1] - low[1]))
    paint = cv2.resize(canvas[..., :3].astype(np.float32), small, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(covered, small, interpolation=cv2.INTER_AREA)
    spots = body.joints[:, :2] * scale + offset
    return Figure((int(low[0]), int(low[1])), paint, alpha, joints, _visibility(canvas[..., 3], spots, body))


def _parts(body: Body, clothes: Clothes, scale: float, offset: Array) -> list[Part]:
    """All parts with their depth; limbs win against the torso where depths are equal."""
    xyz = np.concatenate((body.joints, body.toes))
    xy = xyz[:, :2] * scale + offset
    z = xyz[:, 2]

    def part(
        number: int, nodes: tuple[int, ...], radii: tuple[float, ...], colour: Colour, bias: float
    ) -> Part:
        depth = float(np.mean(z[list(nodes)])) + bias
        return Part(depth, number, xy[list(nodes)], tuple(r * scale for r in radii), colour)

    parts = [
        part(TORSO, (5, 6, 11, 12), (0.058, 0.058, 0.066, 0.066), clothes.shirt, 0.0),
        Part(float(body.head[2]) + 0.03, HEAD, xy[:1], (HEAD_RADIUS * scale,), clothes.skin),
    ]
    for side, arm, leg in ((0, ARM_LEFT, LEG_LEFT), (1, ARM_RIGHT, LEG_RIGHT)):
        sleeve = clothes.shirt if clothes.sleeves else clothes.skin
        shin = clothes.skin if clothes.shorts else clothes.trousers
        parts += [
            part(arm, (5 + side, 7 + side), (0.05, 0.038), shaded(clothes.shirt, 0.93), 0.01),
            part(arm, (7 + side, 9 + side), (0.034, 0.028), shaded(sleeve, 0.97), 0.015),
            part(arm, (9 + side, 9 + side), (0.034, 0.034), clothes.skin, 0.016),
            part(leg, (11 + side, 13 + side), (0.07, 0.052), clothes.trousers, -0.01),
            part(leg, (13 + side, 15 + side), (0.05, 0.036), shaded(shin, 0.93), -0.012),
            part(leg, (15 + side, 17 + side), (0.036, 0.03), clothes.shoes, -0.011),
        ]
    if body.front > 0.15:
        parts.append(_collar(xyz, scale, offset, clothes))
    return parts


def _collar(xyz: Array, scale: float, offset: Array, clothes: Clothes) -> Part:
    """A bright stripe down the chest: with the face it tells front from back, and so left from right."""
    top, low = (xyz[5] + xyz[6]) / 2, (xyz[11] + xyz[12]) / 2
    across = np.cross(xyz[5] - xyz[6], low - top)
    forward = across / np.linalg.norm(across) * 0.05
    ends = np.stack((top + forward, 0.35 * top + 0.65 * low + forward))
    depth = float(xyz[[5, 6, 11, 12], 2].mean()) + 1e-4
    return Part(depth, TORSO, ends[:, :2] * scale + offset, (0.022 * scale, 0.012 * scale), clothes.collar)


def _draw_hull(canvas: Array, part: Part, outline: float) -> None:
    """Fill the hull of a part's circles, with a darker rim that separates like-coloured parts."""
    for extra, colour in ((outline, shaded(part.colour, 0.55)), (0.0, part.colour)):
        value = (*colour, part.number)
        rims = [c + (r + extra) * CIRCLE for c, r in zip(part.centres, part.radii, strict=True)]
        hull = cv2.convexHull(np.concatenate(rims).astype(np.float32))
        cv2.fillConvexPoly(canvas, np.rint(hull * 2**SHIFT).astype(np.int32), value, cv2.LINE_8, SHIFT)


CIRCLE = np.stack((np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)), axis=1)


def _draw_head(canvas: Array, body: Body, clothes: Clothes, scale: float, offset: Array) -> None:
    """Neck, hair as a disc, the face as the part of the ball that looks at the viewer, and its features."""
    radius = HEAD_RADIUS * scale
    centre = body.head[:2] * scale + offset
    left, up, forward = body.axes
    neck = body.joints[5:7, :2].mean(axis=0) * scale + offset
    _draw_hull(
        canvas, Part(0.0, HEAD, np.stack((centre, neck)), (0.4 * radius, 0.42 * radius), clothes.skin), 1.0
    )
    _dot(canvas, centre + up[:2] * 0.06 * radius, 1.08 * radius, clothes.hair)
    if forward[2] > -0.35:
        _draw_face(canvas, centre, radius, forward, up, clothes)
    for joint, sign in ((3, 1.0), (4, -1.0)):
        if sign * left[2] > -0.4:
            _dot(canvas, body.joints[joint, :2] * scale + offset, 0.2 * radius, shaded(clothes.skin, 0.8))
    for joint in (1, 2):
        if _faces(body, joint):
            spot = body.joints[joint, :2] * scale + offset
            _dot(canvas, spot, 0.2 * radius, (250.0, 250.0, 250.0))
            _dot(canvas, spot, 0.11 * radius, (20.0, 20.0, 30.0))
    if _faces(body, 0):
        _dot(canvas, body.joints[0, :2] * scale + offset, 0.15 * radius, (200.0, 70.0, 60.0))
        mouth = centre + (forward[:2] * 0.85 - up[:2] * 0.5) * radius
        _dot(canvas, mouth, 0.11 * radius, (120.0, 30.0, 40.0))


def _draw_face(
    canvas: Array, centre: Array, radius: float, forward: Array, up: Array, clothes: Clothes
) -> None:
    """The skin of a ball's front half: an ellipse that moves and narrows as the head turns away."""
    middle = centre + (forward[:2] * 0.42 - up[:2] * 0.12) * radius
    along = max(0.25, 0.5 + 0.38 * float(forward[2])) * radius
    angle = float(np.degrees(np.arctan2(-up[0], up[1]))) - 180.0
    cv2.ellipse(
        canvas,
        _fixed(middle),
        (round(along * 2**SHIFT), round(0.84 * radius * 2**SHIFT)),
        angle,
        0.0,
        360.0,
        (*clothes.skin, HEAD),
        cv2.FILLED,
        cv2.LINE_8,
        SHIFT,
    )


def _visibility(parts: Array, spots: Array, body: Body) -> Array:
    """COCO's flags before other people are painted: see `Figure.visibility`."""
    flags = np.zeros(17, np.int64)
    for joint, (x, y) in enumerate(np.rint(spots).astype(int)):
        inside = 0 <= y < parts.shape[0] and 0 <= x < parts.shape[1]
        shown = inside and parts[y, x] in OWN_PARTS[joint]
        turned = joint < 5 and not _faces(body, joint)
        flags[joint] = 0 if turned else 2 if shown else 1
    return flags


def _faces(body: Body, joint: int) -> bool:
    """Whether a point of the head lies on the side that the viewer sees."""
    limit = -0.4 if joint >= 3 else 0.1
    return float(body.joints[joint, 2] - body.head[2]) > limit * HEAD_RADIUS


def _dot(canvas: Array, centre: Array, radius: float, colour: Colour) -> None:
    cv2.circle(
        canvas, _fixed(centre), round(radius * 2**SHIFT), (*colour, HEAD), cv2.FILLED, cv2.LINE_8, SHIFT
    )


def _fixed(point: Array) -> tuple[int, int]:
    """OpenCV's fixed-point form of a position."""
    return round(float(point[0]) * 2**SHIFT), round(float(point[1]) * 2**SHIFT)
