"""Bodies of the synthetic data set: random joint angles to 17 joints in space.

World axes: x to the right of the picture, y down, z towards the viewer. The unit is the
standing height of the person, the origin its pelvis. Proportions are those of a stocky
figure (head and limbs larger than life), so that a small picture still shows every part.
"""

from typing import Literal, NamedTuple

import numpy as np

Array = np.ndarray

HEAD_RADIUS = 0.088  # of the standing height; the lengths below are in the same unit
NECK, SHOULDER, HIP = 0.075, 0.118, 0.068  # neck length, half widths
TORSO = 0.30
UPPER_ARM, FOREARM = 0.175, 0.16
THIGH, SHIN, FOOT = 0.235, 0.235, 0.075

Stance = Literal["stand", "walk", "raise", "sit", "free"]
STANCES: tuple[Stance, ...] = ("stand", "walk", "raise", "sit", "free")
STANCE_SHARES = (0.3, 0.2, 0.2, 0.15, 0.15)


class Body(NamedTuple):
    """A person in space, in standing heights."""

    joints: Array
    """(17, 3) in COCO's order."""
    head: Array
    """(3,) centre of the head."""
    axes: Array
    """(3, 3) rows: the head's left, up and forward directions."""
    toes: Array
    """(2, 3) left, right."""
    front: float
    """Cosine of the angle between the chest's direction and the viewer: 1 facing, -1 from behind."""


class Angles(NamedTuple):
    """Joint angles in radians; pairs are (left, right)."""

    abduction: Array
    """(2,) arm from hanging (0) sideways to overhead (pi)."""
    swing: Array
    """(2,) arm forwards."""
    elbow: Array
    """(2,) 0 straight."""
    spread: Array
    """(2,) leg sideways."""
    hip: Array
    """(2,) thigh forwards."""
    knee: Array
    """(2,) 0 straight."""


def random_body(facing_share: float, rng: np.random.Generator) -> Body:
    """A person in a random stance, facing the viewer or else as often from behind as from the side."""
    stance = STANCES[rng.choice(len(STANCES), p=STANCE_SHARES)]
    other_share = (1 - facing_share) / 2
    facing = rng.choice(3, p=(facing_share, other_share, other_share))
    yaw = (rng.normal(0, 0.3), np.pi + rng.normal(0, 0.3), rng.uniform(0.5, 1.3) * rng.choice((-1, 1)))[
        facing
    ]
    lean = rng.normal(0, 0.35 if stance == "free" else 0.1)
    view = _turn_z(lean) @ _turn_x(rng.uniform(0.0, 0.25)) @ _turn_y(yaw)
    return build_body(random_angles(stance, rng), view, rng)


def random_angles(stance: Stance, rng: np.random.Generator) -> Angles:
    """Joint angles within a healthy person's limits for one stance."""
    low, high = {
        "stand": ((0.05, -0.3, 0.0), (0.6, 0.5, 1.2)),
        "walk": ((0.05, -0.7, 0.1), (0.4, 0.8, 1.3)),
        "raise": ((1.2, -0.2, 0.0), (2.9, 0.5, 1.6)),
        "sit": ((0.1, 0.1, 0.2), (0.6, 0.9, 1.5)),
        "free": ((0.0, -0.6, 0.0), (2.9, 1.2, 2.2)),
    }[stance]
    arms = rng.uniform(low, high, (2, 3))
    if stance == "raise" and rng.random() < 0.5:
        arms[rng.integers(2)] = rng.uniform((0.05, -0.3, 0.0), (0.6, 0.5, 1.4))
    low, high = {
        "stand": ((0.02, -0.1, 0.0), (0.25, 0.2, 0.2)),
        "walk": ((0.0, -0.5, 0.0), (0.12, 0.6, 0.7)),
        "raise": ((0.02, -0.1, 0.0), (0.4, 0.3, 0.4)),
        "sit": ((0.05, 1.1, 1.1), (0.5, 1.6, 1.7)),
        "free": ((0.0, -0.4, 0.0), (0.7, 1.3, 1.8)),
    }[stance]
    legs = rng.uniform(low, high, (2, 3))
    return Angles(arms[:, 0], arms[:, 1], arms[:, 2], legs[:, 0], legs[:, 1], legs[:, 2])


def build_body(angles: Angles, view: Array, rng: np.random.Generator) -> Body:
    """Place the joints: body frame (x person's left, y up, z forwards), `view`, then the picture's axes."""
    size = rng.uniform(0.93, 1.07, 3)  # widths, arms, legs
    neck = np.array((0.0, TORSO + NECK, 0.0))
    joints = np.zeros((17, 3))
    toes = np.zeros((2, 3))
    for side, sign in ((0, 1.0), (1, -1.0)):
        shoulder = np.array((sign * SHOULDER * size[0], TORSO, 0.0))
        hip = np.array((sign * HIP * size[0], 0.0, 0.0))
        joints[[5 + side, 7 + side, 9 + side]] = _arm(shoulder, sign, size[1], angles, side, rng)
        leg, toes[side] = _leg(hip, sign, size[2], angles, side)
        joints[[11 + side, 13 + side, 15 + side]] = leg
    nod = _turn_y(rng.normal(0, 0.35)) @ _turn_x(rng.normal(0.05, 0.12))
    head = neck + nod @ np.array((0.0, HEAD_RADIUS * 0.8, 0.01))
    joints[:5] = head + HEAD_RADIUS * FACE @ nod.T
    picture = np.diag((1.0, -1.0, 1.0)) @ view
    return Body(joints @ picture.T, picture @ head, (picture @ nod).T, toes @ picture.T, float(view[2, 2]))


FACE = np.array(
    ((0, -0.12, 1.0), (0.36, 0.2, 0.9), (-0.36, 0.2, 0.9), (1.0, 0.02, 0.0), (-1.0, 0.02, 0.0)), dtype=float
)
"""Nose, eyes and ears in head radii from the head's centre, in the head's own frame."""


def _arm(
    start: Array, sign: float, size: float, angles: Angles, side: int, rng: np.random.Generator
) -> Array:
    """Shoulder, elbow and wrist (3, 3) in the body frame."""
    abduction, swing, elbow = angles.abduction[side], angles.swing[side], angles.elbow[side]
    hanging = np.array((sign * np.sin(abduction), -np.cos(abduction), 0.0))
    direction = _turn_x(-swing) @ hanging
    towards = rng.uniform((-0.7, -0.2, 0.3), (0.5, 1.0, 1.0)) * (sign, 1.0, 1.0)
    middle = start + UPPER_ARM * size * direction
    return np.stack((start, middle, middle + FOREARM * size * _bent(direction, towards, elbow)))


def _leg(start: Array, sign: float, size: float, angles: Angles, side: int) -> tuple[Array, Array]:
    """Hip, knee and ankle (3, 3) and the toe (3,) in the body frame."""
    spread, hip, knee = angles.spread[side], angles.hip[side], angles.knee[side]
    outward = np.array((sign * np.sin(spread), -np.cos(spread), 0.0))
    direction = _turn_x(-hip) @ outward
    backwards = np.array((0.0, -np.sin(hip), -np.cos(hip)))
    middle = start + THIGH * size * direction
    shin = _bent(direction, backwards, knee)
    end = middle + SHIN * size * shin
    toe = end + FOOT * _bent(shin, -_bent(direction, backwards, knee + np.pi / 2), 1.4)
    return np.stack((start, middle, end)), toe + (sign * 0.015, 0.0, 0.0)


def _bent(direction: Array, towards: Array, angle: float) -> Array:
    """The unit vector `direction` turned by `angle` towards another vector."""
    side = towards - (towards @ direction) * direction
    return np.cos(angle) * direction + np.sin(angle) * side / max(float(np.linalg.norm(side)), 1e-6)


def _turn_x(angle: float) -> Array:
    """Rotation about x; a positive angle turns the forward axis down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((1, 0, 0), (0, c, -s), (0, s, c)))


def _turn_y(angle: float) -> Array:
    """Rotation about the vertical axis; a positive angle turns the forward axis to x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def _turn_z(angle: float) -> Array:
    """Rotation in the picture plane."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))
