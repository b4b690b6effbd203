"""What the macro-node discriminator knows, by size and round, beside what could be known.

    python -m tests.benchmarks.macro_nodes --config conf/demo.yaml [--checkpoint FILE] [--images 300]

Macro-nodes are those that Algorithm 1 forms on training images, merged by the model's own edges, and on
validation images. Classifiers of the discriminator's shape are trained on the former's embeddings as they
are, from the members' mean or from mean and standard deviation, and judged on the latter.

Letters: X macro-nodes, H embedding, F features.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hgg.candidates import Candidates
from hgg.config import GroupingConfig
from hgg.discriminators import MacroDiscriminator
from hgg.graph import Graph
from hgg.hierarchy import Hierarchy
from hgg.labels import assign
from hgg.model import HGG
from hgg.ohgc import cluster, macro_features
from hgg.pictures import decode_picture
from hgg.predictor import Predictor, evaluating
from hgg.targets import Targets
from pipeline.data.shards import read_records, stage_folder
from pipeline.evaluation.trained import model_file, trained_model
from pipeline.evaluation.truth import true_people
from pipeline.settings.load import load_config

STEPS, BATCH, RATE = 1500, 256, 1e-3
SIZES = ((2, 2), (3, 4), (5, 8), (9, 999))


class Formed(NamedTuple):
    """Macro-nodes that rounds formed and that are supervised."""

    feature: Tensor
    """(X, 2H) mean and standard deviation of the members' embeddings."""
    logit: Tensor
    """(X,) the model's own discriminator."""
    target: Tensor
    """(X,) 1 for one person."""
    members: Tensor
    """(X,)."""
    round: Tensor
    """(X,) from 1."""


def formed_by(predictor: Predictor, records: Path, images: int) -> Formed:
    """The macro-nodes of the first images."""
    parts: list[Formed] = []
    model = predictor.model
    for record in islice(read_records(records), images):
        detections = predictor.detect([decode_picture(record["jpeg"])])
        candidates = detections.candidates
        truth = true_people([record], detections.transforms, candidates.size.tolist(), model.config.joints)
        label_BN = assign(candidates, Targets(*truth), model.config.joints)
        with evaluating(model):
            embedding, graph = model.grouping.embed(candidates)
            # Squares are summed where the discriminator asks for them; what it says is asked of the own one.
            hierarchy = _with_squares(model, embedding, graph, candidates, label_BN)
        for number, each in enumerate(hierarchy.rounds, start=1):
            chosen = each.macros.supervised
            sums = each.after.sums.flatten(0, 1)[chosen]
            feature = macro_features(sums, embedding.shape[2:], spread=True)
            own = feature if model.grouping.macro.spread else feature[:, : embedding.shape[3]]
            logit = model.grouping.macro(own)
            members = sums[:, -1]
            parts.append(
                Formed(feature, logit, each.macros.target[chosen], members, torch.full_like(members, number))
            )
    return Formed(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _with_squares(
    model: HGG, embedding_BNTH: Tensor, graph: Graph, candidates: Candidates, label_BN: Tensor
) -> Hierarchy:
    """The rounds, with sums of squares whether the model's own discriminator wants them or not."""
    own = model.grouping.macro
    other = MacroDiscriminator(
        GroupingConfig(hidden=model.config.grouping.hidden, macro_input="spread")
    ).eval()
    return cluster(
        embedding_BNTH,
        graph,
        candidates,
        model.grouping.edge,
        own if own.spread else other,
        model.grouping.rule_JJ,
        model.config.grouping,
        label_BN,
    )


def trained(formed: Formed, *, spread: bool, balanced: bool) -> MacroDiscriminator:
    """A classifier of the discriminator's shape, on embeddings as they are."""
    torch.manual_seed(0)
    width = formed.feature.shape[1] // 2
    config = GroupingConfig(hidden=width, dropout=0.0, macro_input="spread" if spread else "mean")
    classifier = MacroDiscriminator(config)
    optimiser = torch.optim.Adam(classifier.parameters(), RATE)
    feature = formed.feature if spread else formed.feature[:, :width]
    share = formed.target.mean()
    weight = torch.where(formed.target > 0, 0.5 / share, 0.5 / (1 - share)) if balanced else None
    for _ in range(STEPS):
        chosen = torch.randint(len(feature), (BATCH,))
        loss = F.binary_cross_entropy_with_logits(
            classifier(feature[chosen]), formed.target[chosen], None if weight is None else weight[chosen]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return classifier.eval()


def figures(logit: Tensor, target: Tensor) -> str:
    """How many, how many are one person, accuracy, that of both classes alike, area under the curve."""
    right = (logit > 0) == (target > 0)
    one, other = target > 0, target == 0
    accuracies = [float(right[part].float().mean()) for part in (one, other) if part.any()]
    area = ""
    if one.any() and other.any():
        ranks = torch.argsort(torch.argsort(logit)).float() + 1
        count, rest = int(one.sum()), int(other.sum())
        area = f"{(float(ranks[one].sum()) - count * (count + 1) / 2) / (count * rest):.3f}"
    cells = [
        str(len(target)),
        f"{float(target.mean()):.0%}",
        f"{float(right.float().mean()):.1%}",
        " / ".join(f"{each:.0%}" for each in accuracies),
        area,
    ]
    return " | ".join(cells)


def report(name: str, logit: Tensor, formed: Formed) -> None:
    """All, by size and by round."""
    parts: Sequence[tuple[str, Tensor]] = [
        ("all", torch.ones_like(formed.target, dtype=torch.bool)),
        *(
            (f"{a} to {b}" if b < 99 else f"{a} and more", (formed.members >= a) & (formed.members <= b))
            for a, b in SIZES
        ),
        *((f"round {number}", formed.round == number) for number in (1, 2, 3)),
        ("later", formed.round > 3),
    ]
    for part, chosen in parts:
        if chosen.any():
            print(f"| {name} | {part} | {figures(logit[chosen], formed.target[chosen])} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_args()
    config = load_config([arguments.config], arguments.settings)
    predictor = Predictor(trained_model(arguments.checkpoint or model_file(config), None, use_gpu=False))
    with torch.no_grad():
        training, others = (
            formed_by(predictor, stage_folder(config.run_root, "records", split), arguments.images)
            for split in (config.data.train_split, config.data.val_split)
        )
    print("| what judges | macro-nodes | number | of one person | right | of one / others | area |")
    print("|---|---|---:|---:|---:|---:|---:|")
    report("the model, training", training.logit, training)
    report("the model", others.logit, others)
    width = others.feature.shape[1] // 2
    for spread in (False, True):
        for balanced in (False, True):
            name = f"{'mean and deviation' if spread else 'mean'}{', balanced' if balanced else ''}"
            classifier = trained(training, spread=spread, balanced=balanced)
            with torch.no_grad():
                report(name, classifier(others.feature if spread else others.feature[:, :width]), others)


if __name__ == "__main__":
    main()
