"""A photograph's grouping to look at: a strip of its rounds, and a page that steps through them.

The page is one HTML file with picture, data and code in it: it opens from a disk, without a network.
"""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hgg.draw import COLOURS
from hgg.draw_rounds import draw_strip
from hgg.explain import Node, Step, explain_nodes, explain_rounds, sources
from hgg.groupings import TITLES
from hgg.poses import Poses
from hgg.predictor import Predictor, evaluating
from hgg.suppression import without
from pipeline.base.files import write_text
from pipeline.data.pictures import encode_jpeg, write_picture

if TYPE_CHECKING:
    from pipeline.data.coco_file import CocoImage

TEMPLATE = Path(__file__).with_suffix(".html")
QUALITY = 90  # of the page's JPEG
BELIEVED = 0.1  # value of a keypoint below which it is not drawn, as `hgg.draw.draw_poses`


def explain(
    predictor: Predictor, picture: np.ndarray, name: str, out: Path, label: "CocoImage | None" = None
) -> None:
    """Write {out}/{name}.rounds.png and {out}/{name}.html.

    Args:
        predictor: with one plain view.
        picture: RGB uint8 (H, W, 3).
        name: of the photograph, without its suffix.
        out: folder.
        label: its true people, for the oracle.

    Raises:
        UserError: labels of a picture of another size, or that contradict themselves.
    """
    found = predictor.detect([picture])
    model, candidates = predictor.model, found.candidates
    joints = model.config.joints
    with torch.no_grad(), evaluating(model):
        hierarchy = model.grouping(candidates)
    nodes = explain_nodes(candidates, found.transforms[0])
    steps = explain_rounds(hierarchy, len(nodes), model.config.grouping.cut)
    groupings = {
        TITLES["hgg"]: model.people(hierarchy, candidates),
        TITLES["ae"]: predictor.clusters_of(candidates, "ae"),
    }
    if label is not None:
        # Imported here as nothing else of a prediction needs what reads labels: pyarrow and pycocotools.
        from pipeline.prediction.labels import label_targets

        targets = label_targets(found, picture, label, joints)
        groupings[TITLES["oracle"]] = predictor.clusters_of(candidates, "oracle", targets)
    people = {title: predictor.everybody(found, clusters)[0] for title, clusters in groupings.items()}
    by = {title: predictor.suppressed(poses) for title, poses in people.items()}
    own = without(people[TITLES["hgg"]], by[TITLES["hgg"]])
    write_picture(out / f"{name}.rounds.png", draw_strip(picture, nodes, steps, own, skeleton=joints))
    data = {
        "title": name,
        "width": picture.shape[1],
        "height": picture.shape[0],
        "image": "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, QUALITY)).decode(),
        "joints": [joint.replace("_", " ") for joint in joints.names],
        "limbs": joints.limbs,
        "colours": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLOURS],
        "believed": BELIEVED,
        "groupings": [*groupings],
        "nodes": [_node(node) for node in nodes],
        "steps": [_step(step) for step in steps],
        "members": {
            title: clusters.member[0, : len(nodes)].tolist() for title, clusters in groupings.items()
        },
        "suppression": predictor.suppression,
        "people": {title: _people(poses, by[title], nodes) for title, poses in people.items()},
    }
    # A tag or a comment inside the data, as in a photograph's name, would end the script element.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    write_text(out / f"{name}.html", TEMPLATE.read_text(encoding="utf-8").replace("@DATA@", text))


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


def _people(poses: Poses, by_P: np.ndarray, nodes: list[Node]) -> list[dict[str, Any]]:
    """People with whom suppresses them or -1, and their keypoints: x, y, value, its candidate or -1."""
    from_PJ = sources(poses, nodes)
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
