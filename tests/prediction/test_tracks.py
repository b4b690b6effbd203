"""pipeline.prediction.tracks: ids over frames, as people cross, vanish and come back."""

import numpy as np
import pytest

from hgg.poses import Poses
from hgg.skeleton import COCO
from pipeline.prediction.tracks import NO_ID, OneEuro, Tracker

RATE = 25.0


def _person(x: float, y: float = 100.0, height: float = 120.0) -> np.ndarray:
    """A standing person (17, 3), joints from the head down to the feet."""
    rows = np.array([0, 0, 0, 1, 1, 3, 3, 5, 5, 7, 7, 7, 7, 10, 10, 14, 14]) / 14
    sides = np.array([0, 1, -1, 2, -2, 4, -4, 5, -5, 5, -5, 3, -3, 3, -3, 3, -3]) / 30
    places = np.stack([x + sides * height, y + rows * height, np.full(17, 0.9)], axis=1)
    return places.astype(np.float32)


def _frame(*people: np.ndarray) -> Poses:
    keypoints = np.stack(people) if people else np.zeros((0, 17, 3), np.float32)
    return Poses(keypoints, np.full(len(people), 0.8, np.float32))


def _run(tracker: Tracker, frames: list[list[np.ndarray]]) -> list[list[int]]:
    return [tracker.update(_frame(*people), n / RATE).tolist() for n, people in enumerate(frames)]


def test_people_keep_their_ids_as_they_cross() -> None:
    """Two walk past each other in sixty frames, at the same height, and are shuffled in every frame."""
    random, frames, order = np.random.default_rng(0), [], []
    for frame in range(60):
        people = [_person(50 + 5 * frame), _person(350 - 5 * frame, y=104)]
        people = [
            each + np.append(random.normal(0, 1.0, (17, 2)), np.zeros((17, 1)), 1).astype(np.float32)
            for each in people
        ]
        order.append(random.permutation(2))
        frames.append([people[place] for place in order[-1]])
    ids = _run(Tracker(COCO), frames)
    true_ids = [[int(ids[frame][list(order[frame]).index(who)]) for frame in range(60)] for who in (0, 1)]
    assert true_ids == [[true_ids[0][0]] * 60, [true_ids[1][0]] * 60]
    assert true_ids[0][0] != true_ids[1][0]


@pytest.mark.parametrize("missed", [1, 5, 10])
def test_an_id_lives_through_missed_frames(missed: int) -> None:
    seen = [[_person(50 + 2 * frame)] for frame in range(20)]
    later = [[_person(50 + 2 * frame)] for frame in range(20 + missed, 40 + missed)]
    ids = _run(Tracker(COCO), [*seen, *([[]] * missed), *later])
    assert {each for frame in ids for each in frame} == {0}


def test_an_id_lives_as_long_as_tracks_do() -> None:
    ids = _run(Tracker(COCO), [[_person(50)]] * 3 + [[]] * 30 + [[_person(50)]])
    assert ids[-1] == [0]


def test_an_id_is_not_given_again_after_too_long() -> None:
    ids = _run(Tracker(COCO, most_missed=5), [[_person(50)]] * 3 + [[]] * 6 + [[_person(50)]] * 3)
    assert [frame[0] for frame in ids if frame] == [0, 0, 0, NO_ID, 1, 1]


def test_a_guess_of_one_frame_has_no_id() -> None:
    ids = _run(Tracker(COCO), [[_person(50)], [_person(50), _person(300)], [_person(50)], [_person(50)]])
    assert ids == [[0], [0, NO_ID], [0], [0]]


def test_who_comes_later_has_an_id_from_the_second_frame_on() -> None:
    ids = _run(Tracker(COCO), [[_person(50)]] + [[_person(50), _person(300)]] * 3)
    assert ids == [[0], [0, NO_ID], [0, 1], [0, 1]]


def test_half_a_person_is_still_that_person() -> None:
    half = _person(52)
    half[8:, :] = 0
    assert _run(Tracker(COCO), [[_person(50)], [half], [_person(54)]]) == [[0], [0], [0]]


def test_a_person_far_away_is_another() -> None:
    ids = _run(Tracker(COCO), [[_person(50)], [_person(200)], [_person(200)]])
    assert ids == [[0], [NO_ID], [1]]


def test_frames_without_anybody_are_nothing() -> None:
    assert _run(Tracker(COCO), [[], [], [_person(50)], [_person(50)]]) == [[], [], [NO_ID], [0]]


def test_times_need_not_be_even() -> None:
    tracker, ids = Tracker(COCO), []
    for seconds in (0.0, 0.04, 0.12, 0.16, 0.4, 0.44):
        ids += tracker.update(_frame(_person(50 + 100 * seconds)), seconds).tolist()
    assert ids == [0] * 6


def test_one_euro_holds_still_what_is_at_rest_and_follows_what_moves() -> None:
    random = np.random.default_rng(0)
    held, followed = OneEuro(1.0, 0.05), OneEuro(1.0, 0.05)
    raw, smooth, late = [], [], []
    for frame in range(100):
        noisy = _person(50)
        noisy[:, :2] += random.normal(0, 1.0, (17, 2))
        raw.append(noisy[:, :2])
        smooth.append(held(noisy, frame / RATE)[:, :2])
        fast = _person(50 + 20 * frame)
        late.append(fast[0, 0] - followed(fast, frame / RATE)[0, 0])
    assert np.std(smooth[50:], axis=0).mean() < 0.6 * np.std(raw[50:], axis=0).mean()
    assert max(late[10:]) < 3


def test_one_euro_leaves_missing_joints_missing_and_begins_anew_with_them() -> None:
    smooth = OneEuro(1.0, 0.0)
    person = _person(50)
    smooth(person, 0.0)
    gone = person.copy()
    gone[4] = 0
    assert (smooth(gone, 0.04)[4] == 0).all()
    back = _person(80)
    np.testing.assert_array_equal(smooth(back, 0.08)[4], back[4])
