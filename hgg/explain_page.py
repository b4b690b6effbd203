"""A photograph's grouping to look at: a strip of its rounds (Fig. 5), and a page that steps through them.

The page is one HTML file with picture, data and code in it: it opens from a disk, without a network.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hgg.config import InferenceConfig
from hgg.draw import COLOURS
from hgg.draw_rounds import draw_strip
from hgg.explain import Node, Step, explain_nodes, explain_rounds, sources
from hgg.groupings import TITLES
from hgg.pictures import encode_jpeg
from hgg.poses import MIN_SCORE, Poses, likely
from hgg.predictor import Detections, Predictor, evaluating
from hgg.skeleton import Skeleton
from hgg.suppression import without
from hgg.targets import Targets

TEMPLATE = Path(__file__).with_name("explain.html")
QUALITY = 90  # of the page's JPEG
BELIEVED = 0.1  # value of a keypoint below which it is not drawn, as `hgg.draw.draw_poses`
OWN = TITLES["hgg"]


class Explained(NamedTuple):
    """How one photograph's candidates became people, by each grouping."""

    picture: np.ndarray
    """RGB uint8 (H, W, 3)."""
    joints: Skeleton
    nodes: list[Node]
    """The candidates."""
    steps: list[Step]
    """Rounds of Algorithm 1 that merged something."""
    members: dict[str, list[int]]
    """By grouping, the person of each candidate."""
    people: dict[str, Poses]
    """By grouping, everybody: those who are suppressed too."""
    by: dict[str, np.ndarray]
    """By grouping, whom each person is suppressed by, or -1."""
    suppression: float
    """The OKS above which somebody is suppressed."""

    def strip(self, min_score: float = MIN_SCORE) -> np.ndarray:
        """Candidates, each round's merges, people of at least this score: RGB uint8, panels in a row."""
        own = likely(without(self.people[OWN], self.by[OWN]), min_score)
        return draw_strip(self.picture, self.nodes, self.steps, own, skeleton=self.joints)

    def html(self, title: str) -> str:
        """The page: one that steps through the rounds with the arrow keys, and needs no network."""
        jpeg = encode_jpeg(self.picture, QUALITY)
        data = {
            "title": title,
            "width": self.picture.shape[1],
            "height": self.picture.shape[0],
            "image": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
            "joints": [joint.replace("_", " ") for joint in self.joints.names],
            "limbs": self.joints.limbs,
            "colours": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLOURS],
            "believed": BELIEVED,
            "groupings": [*self.members],
            "nodes": [_node(node) for node in self.nodes],
            "steps": [_step(step) for step in self.steps],
            "members": self.members,
            "suppression": self.suppression,
            "people": {
                name: _people(poses, self.by[name], self.members[name], self.nodes)
                for name, poses in self.people.items()
            },
        }
        # A tag or a comment inside the data, as in a photograph's name, would end the script element.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return TEMPLATE.read_text(encoding="utf-8").replace("@DATA@", text)


def why_not(predictor: Predictor) -> str:
    """What keeps a predictor's groupings from being explained; nothing where nothing does."""
    if predictor.model.config.grouping.decoder != "hgg":
        return "grouping.decoder=associative has no rounds to show: set it to hgg"
    if predictor.inference != InferenceConfig(resize=predictor.inference.resize):
        return "one plain view is shown: set inference.flip=false, inference.scales=[1.0]"
    return ""


def explained(
    predictor: Predictor, picture: np.ndarray, truth: Callable[[Detections], Targets] | None = None
) -> Explained:
    """A photograph's people by HGG and by AE, with the rounds of the first.

    Args:
        predictor: of one plain view (`why_not`).
        picture: RGB uint8 (H, W, 3).
        truth: gives the true people beside what was found, for the oracle's grouping.
    """
    found = predictor.detect([picture])
    model, candidates = predictor.model, found.candidates
    with torch.no_grad(), evaluating(model):
        hierarchy = model.grouping(candidates)
    nodes = explain_nodes(candidates, found.transforms[0])
    groupings = {
        OWN: model.people(hierarchy, candidates),
        TITLES["ae"]: predictor.clusters_of(candidates, "ae"),
    }
    if truth is not None:
        groupings[TITLES["oracle"]] = predictor.clusters_of(candidates, "oracle", truth(found))
    people = {title: predictor.everybody(found, clusters)[0] for title, clusters in groupings.items()}
    return Explained(
        picture,
        model.config.joints,
        nodes,
        explain_rounds(hierarchy, len(nodes), model.config.grouping.cut),
        {title: clusters.member[0, : len(nodes)].tolist() for title, clusters in groupings.items()},
        people,
        {title: predictor.suppressed(poses) for title, poses in people.items()},
        predictor.suppression,
    )


def _node(node: Node) -> dict[str, Any]:
    return {
        "joint": node.joint,
        "x": round(node.x, 2),
        "y": round(node.y, 2),
        "score": round(node.score, 4),
        "tag": round(node.tag, 4),
    }


def _step(step: Step) -> dict[str, Any]:
    edges = [[edge.first, edge.second, round(edge.probability, 4), edge.outcome] for edge in step.edges]
    verdicts = {str(node): round(value, 4) for node, value in step.verdicts.items()}
    return {"edges": edges, "member": step.member, "verdicts": verdicts}


def _people(poses: Poses, by_P: np.ndarray, member: list[int], nodes: list[Node]) -> list[dict[str, Any]]:
    """People with whom suppresses them or -1, and their keypoints: x, y, value, its candidate or -1."""
    from_PJ = sources(poses, member, nodes)
    return [
        {
            "score": round(float(score), 4),
            "by": int(by),
            "keypoints": [
                [round(float(x), 2), round(float(y), 2), round(float(value), 4), int(source)]
                for (x, y, value), source in zip(keypoints_J3, from_J, strict=True)
            ],
        }
        for keypoints_J3, score, by, from_J in zip(poses.keypoints, poses.score, by_P, from_PJ, strict=True)
    ]
