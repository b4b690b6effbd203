"""Who is who from frame to frame: ids for the people of a video, and steadier joints.

People of a frame are given to tracks one to one so that the sum of their OKS is highest (the Hungarian
algorithm), OKS between a person and where its track would be now if it went on as before. That is the way of
OKS trackers (PoseTrack's baselines) with what SORT (Bewley et al., 2016) says of births and ages:

- a pair below `least_oks` is none: OKS over the joints that both have, with COCO's constants doubled, as
  joints are found a little elsewhere in every frame;
- who is given to no track begins one, which has an id from its second frame in a row on (in the first frame
  of all at once), so that a guess of one frame has none;
- a track that nobody was given to goes on as it went, more slowly each frame, and ends after `most_missed`.

Letters: P people, T tracks, J joint types.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hgg.poses import LEAST, Poses, box_sides
from hgg.skeleton import Skeleton

NO_ID = -1
LENIENT = 2.0  # times COCO's constants
BORN = 2  # frames in a row
STEADY = 0.5  # share of a track's former velocity in the new one
SLOWER = 0.9  # share of the velocity that is left after a frame without the person
SMALLEST_SIDE = 8.0  # pixels of a person's box; keeps OKS sensible for a joint or two
SHARED = 3  # joints that a person and a track have in common at the least, or all of the smaller one's


@dataclass
class _Track:
    """A person over time; `keypoints` (J, 3) are where each joint was seen last, moved on with the person."""

    keypoints: np.ndarray
    velocity: np.ndarray
    """(2,) pixels a second."""
    id: int = NO_ID
    seen: int = 1
    missed: int = 0


class Tracker:
    """Gives the people of one frame after another their ids.

    Args:
        skeleton: whose constants OKS has.
        least_oks: below which a person is not a track's, in [0, 1].
        most_missed: frames in a row without the person after which its id is not given again.
    """

    def __init__(self, skeleton: Skeleton, least_oks: float = 0.2, most_missed: int = 30) -> None:
        self.spread_J = 2 * (2 * LENIENT * np.asarray(skeleton.sigmas)) ** 2
        self.least_oks, self.most_missed = least_oks, most_missed
        self.tracks: list[_Track] = []
        self.ids = 0
        self.seconds: float | None = None

    def update(self, poses: Poses, seconds: float) -> np.ndarray:
        """Ids of a frame's people, (P,) int64, counted from 0; `NO_ID` for who may be a guess.

        Args:
            poses: in the video's pixels.
            seconds: when, later than the frame before.
        """
        first, step = self.seconds is None, seconds - (self.seconds or 0.0)
        self.seconds = seconds
        for track in self.tracks:
            track.keypoints[:, :2] += track.velocity * step
        of_P = self._given(poses)
        ids_P = np.full(len(poses.score), NO_ID)
        taken = set()
        for person, index in enumerate(of_P):
            if index < 0:
                self.tracks.append(_Track(poses.keypoints[person].astype(np.float64), np.zeros(2)))
                index = len(self.tracks) - 1
            else:
                _move(self.tracks[index], poses.keypoints[person], step)
            taken.add(index)
            ids_P[person] = self._id(self.tracks[index], first)
        self._age({*range(len(self.tracks))} - taken)
        return ids_P

    def _given(self, poses: Poses) -> list[int]:
        """The track of each person, -1 for none."""
        given = [-1] * len(poses.score)
        if not self.tracks or not given:
            return given
        oks_PT = self._oks(poses.keypoints.astype(np.float64))
        for person, track in zip(*linear_sum_assignment(oks_PT, maximize=True), strict=True):
            if oks_PT[person, track] >= self.least_oks:
                given[person] = int(track)
        return given

    def _oks(self, keypoints_PJ3: np.ndarray) -> np.ndarray:
        """(P, T), 0 where too few joints are in common."""
        tracks_TJ3 = np.stack([track.keypoints for track in self.tracks])
        there_PJ, there_TJ = keypoints_PJ3[..., 2] > LEAST, tracks_TJ3[..., 2] > LEAST
        both_PTJ = there_PJ[:, None] & there_TJ
        distance_PTJ = ((keypoints_PJ3[:, None, :, :2] - tracks_TJ3[..., :2]) ** 2).sum(axis=-1)
        area_PT1 = (_areas(keypoints_PJ3, there_PJ)[:, None] + _areas(tracks_TJ3, there_TJ))[..., None] / 2
        number_PT = both_PTJ.sum(axis=-1)
        oks_PT = (np.exp(-distance_PTJ / (self.spread_J * area_PT1)) * both_PTJ).sum(axis=-1)
        needed_PT = np.minimum(SHARED, np.minimum(there_PJ.sum(1)[:, None], there_TJ.sum(1)))
        return np.where(number_PT >= np.maximum(needed_PT, 1), oks_PT / np.maximum(number_PT, 1), 0.0)

    def _id(self, track: _Track, first: bool) -> int:
        if track.id == NO_ID and (first or track.seen >= BORN):
            track.id, self.ids = self.ids, self.ids + 1
        return track.id

    def _age(self, missed: set[int]) -> None:
        """Tracks that nobody was given to: they go on for a while, or end."""
        for index in missed:
            track = self.tracks[index]
            track.missed += 1
            track.velocity *= SLOWER
        self.tracks = [
            track
            for index, track in enumerate(self.tracks)
            if index not in missed or (track.id != NO_ID and track.missed <= self.most_missed)
        ]


def _move(track: _Track, keypoints_J3: np.ndarray, step: float) -> None:
    """A track to where its person is now; joints that are not seen go along with the others."""
    seen_J = keypoints_J3[:, 2] > LEAST
    both_J = seen_J & (track.keypoints[:, 2] > LEAST)
    if both_J.any():
        shift_2 = np.median(keypoints_J3[both_J, :2] - track.keypoints[both_J, :2], axis=0)
        track.keypoints[:, :2] += shift_2
        # The track was moved on already: the shift is what the velocity was wrong by, over all frames missed.
        if step > 0:
            wrong_2 = shift_2 / (step * (1 + track.missed))
            track.velocity = track.velocity + (1 - STEADY) * wrong_2 if track.seen > 1 else wrong_2
    track.keypoints[seen_J] = keypoints_J3[seen_J]
    track.seen, track.missed = track.seen + 1, 0


def _areas(keypoints_PJ3: np.ndarray, there_PJ: np.ndarray) -> np.ndarray:
    """Areas of the boxes around people's joints, (P,)."""
    return np.maximum(box_sides(keypoints_PJ3[..., :2], there_PJ), SMALLEST_SIDE).prod(axis=1)


class OneEuro:
    """The One-Euro filter (Casiez et al., CHI 2012) for one person's joints.

    Slow joints are held still, fast ones follow at once: each coordinate is averaged exponentially with a
    cutoff of `cutoff` + `beta` x its speed.

    Args:
        cutoff: Hz, for a joint at rest; a lower one holds stiller and follows later.
        beta: 1 / pixel: how much a pixel a second adds to the cutoff.
    """

    SPEED_CUTOFF = 1.0  # Hz, of the speed itself: the paper's

    def __init__(self, cutoff: float, beta: float) -> None:
        self.cutoff, self.beta = cutoff, beta
        self.last: tuple[float, np.ndarray, np.ndarray] | None = None

    def __call__(self, keypoints_J3: np.ndarray, seconds: float) -> np.ndarray:
        """The joints (J, 3) with places that are steadier; missing ones stay missing."""
        smooth_J3, speed_J2 = keypoints_J3.astype(np.float64), np.zeros((len(keypoints_J3), 2))
        if self.last is not None and seconds > self.last[0]:
            step, (_, before_J3, before_speed_J2) = seconds - self.last[0], self.last
            both_J = (keypoints_J3[:, 2] > 0) & (before_J3[:, 2] > 0)
            raw_J2 = (keypoints_J3[both_J, :2] - before_J3[both_J, :2]) / step
            share = _share(np.array(self.SPEED_CUTOFF), step)
            speed_J2[both_J] = share * raw_J2 + (1 - share) * before_speed_J2[both_J]
            share_J2 = _share(self.cutoff + self.beta * np.abs(speed_J2[both_J]), step)
            smooth_J3[both_J, :2] = (
                share_J2 * keypoints_J3[both_J, :2] + (1 - share_J2) * before_J3[both_J, :2]
            )
        self.last = (seconds, smooth_J3, speed_J2)
        return smooth_J3.astype(keypoints_J3.dtype)


def _share(cutoff: np.ndarray, step: float) -> np.ndarray:
    """Of the new value in an exponential average with a cutoff in Hz, after `step` seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
