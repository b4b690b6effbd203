"""pycocotools' evaluation, with its loops over pairs of people and over thresholds run on arrays.

The figures are pycocotools' own to the last bit (tests/metrics/test_coco_evaluator.py): sums keep its order.
Letters: D detections of an image, the highest scores first; G its labelled people; K joints; T thresholds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

Row = dict[str, Any]
BELOW_ONE = 1 - 1e-10  # pycocotools: an overlap of as much counts at a threshold of 1


class Evaluator(COCOeval):
    """`COCOeval` for keypoints and boxes, category by category; its two slow methods are replaced."""

    _gts: dict[tuple[int, int], list[Row]]
    _dts: dict[tuple[int, int], list[Row]]

    def computeOks(self, imgId: int, catId: int) -> Any:
        """OKS of each pair, as [D, G]; an empty list where there is none."""
        people, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not people or not found:
            return []
        order = _by_score(found, self.params.maxDets[-1])
        places_DK2 = np.array([found[n]["keypoints"] for n in order], dtype=float).reshape(len(order), -1, 3)
        spread_K = (self.params.kpt_oks_sigmas * 2) ** 2
        return np.stack([_oks(places_DK2[..., :2], person, spread_K) for person in people], axis=1)

    def evaluateImg(self, imgId: int, catId: int, aRng: Sequence[float], maxDet: int) -> Any:
        """Who is matched with whom at each threshold; people of sizes outside of `aRng` do not count."""
        people, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not people and not found:
            return None
        left_out = [int(bool(each["ignore"]) or _outside(each["area"], aRng)) for each in people]
        last = np.argsort(left_out, kind="mergesort")  # those that do not count come last
        people = [people[n] for n in last]
        found = [found[n] for n in _by_score(found, maxDet)]
        ignored_G = np.array([left_out[n] for n in last])
        overlap = self.ious[imgId, catId]
        overlap_DG = np.reshape(overlap, (len(overlap), len(people)))[:, last]
        dt_TD, ignored_TD, gt_TG = self._match(overlap_DG, people, found, ignored_G)
        outside_D = np.array([_outside(each["area"], aRng) for each in found], dtype=bool)
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": [each["id"] for each in found],
            "gtIds": [each["id"] for each in people],
            "dtMatches": dt_TD,
            "gtMatches": gt_TG,
            "dtScores": [each["score"] for each in found],
            "gtIgnore": ignored_G,
            "dtIgnore": ignored_TD | ((dt_TD == 0) & outside_D),
        }

    def _match(
        self, overlap_DG: np.ndarray, people: list[Row], found: list[Row], ignored_G: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids of whom each detection takes, 0 for none; whether they do not count; who takes each person.

        Shapes [T, D], [T, D] and [T, G]. Detections come in turn, and take the free person whom they overlap
        most, of equal ones the last, one who does not count only where no other is left. Crowds stay free.
        """
        least_T1 = np.minimum(self.params.iouThrs, BELOW_ONE)[:, None]
        dt_TD = np.zeros((len(least_T1), len(found)))
        ignored_TD = np.zeros_like(dt_TD, dtype=bool)
        gt_TG = np.zeros((len(least_T1), len(people)))
        ids_G = np.array([each["id"] for each in people])
        crowd_G = np.array([bool(each["iscrowd"]) for each in people])
        for n, overlap_G in enumerate(overlap_DG):
            fits_TG = (overlap_G >= least_T1) & ((gt_TG == 0) | crowd_G)
            if not fits_TG.any():
                continue
            counts_TG = fits_TG & (ignored_G == 0)
            fits_TG = np.where(counts_TG.any(axis=1, keepdims=True), counts_TG, fits_TG)
            best_T = len(people) - 1 - np.where(fits_TG, overlap_G, -1)[:, ::-1].argmax(axis=1)
            taken_T = fits_TG.any(axis=1)
            best = best_T[taken_T]
            dt_TD[taken_T, n] = ids_G[best]
            ignored_TD[taken_T, n] = ignored_G[best]
            gt_TG[taken_T, best] = found[n]["id"]
        return dt_TD, ignored_TD, gt_TG


def _by_score(found: list[Row], most: int) -> np.ndarray:
    return np.argsort([-each["score"] for each in found], kind="mergesort")[:most]


def _outside(area: float, sizes: Sequence[float]) -> bool:
    return area < sizes[0] or area > sizes[1]


def _oks(places_DK2: np.ndarray, person: Row, spread_K: np.ndarray) -> np.ndarray:
    """OKS of each detection with one person; without labelled joints, by the way to the doubled box."""
    labels_K3 = np.reshape(person["keypoints"], (-1, 3))
    counts_K = labels_K3[:, 2] > 0
    if counts_K.any():
        off_DK2 = places_DK2 - labels_K3[:, :2]
    else:
        corner, size = np.split(np.array(person["bbox"]), 2)
        under, over = corner - size - places_DK2, places_DK2 - (corner + size * 2)
        off_DK2 = np.maximum(under, 0) + np.maximum(over, 0)
        counts_K = ~counts_K
    square_DK = off_DK2[..., 0] ** 2 + off_DK2[..., 1] ** 2
    error_DK = square_DK / spread_K / (person["area"] + np.spacing(1)) / 2
    # A row's numbers side by side, which numpy adds as it adds pycocotools' single rows.
    return np.exp(-np.ascontiguousarray(error_DK[:, counts_K])).sum(axis=1) / counts_K.sum()
