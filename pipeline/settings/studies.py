"""Settings of studies: by which a configuration is a row of the paper's tables, and of a sweep."""

from math import isfinite

from pydantic import model_validator

from hgg.settings import NOTHING, Decides, Settings, setting

Range = tuple[float, float]


class PaperConfig(Settings):
    """What the paper reports for a row on COCO val2017, in percent (Table 2, Fig. 4a); empty: nothing."""

    AP: float | None = setting(None, NOTHING)
    """Average precision."""
    AP50: float | None = setting(None, NOTHING)
    """Average precision at an OKS of 0.5."""
    AP75: float | None = setting(None, NOTHING)
    """Average precision at an OKS of 0.75."""
    AR: float | None = setting(None, NOTHING)
    """Average recall."""
    AR50: float | None = setting(None, NOTHING)
    """Average recall at an OKS of 0.5."""
    AR75: float | None = setting(None, NOTHING)
    """Average recall at an OKS of 0.75."""


class AblationConfig(Settings):
    """Row of Table 2 or graph of Fig. 4a."""

    row: str = setting("", NOTHING, pattern=r"^[a-z0-9_]*$")
    """Name of the row in `jobs/ablate.py --rows`; empty where a configuration is none."""
    title: str = setting("", NOTHING)
    """What the row means."""
    model_of: str = setting("", NOTHING)
    """Row whose trained model this row evaluates in another way; empty trains one of its own."""
    draws: int = setting(1, NOTHING, ge=1)
    """Evaluations of each model, by `evaluate.seed`; more than 1 where grouping is random."""
    paper: PaperConfig = PaperConfig()


class TuneConfig(Settings):
    """Search for the weights of the losses, the learning rates and the cut."""

    trials: int = setting(20, Decides.SEARCH, ge=1)
    """Trials, those with the paper's weights and with the configuration's own among them."""
    concurrent: int = setting(0, Decides.SEARCH, ge=0)
    """Trials at a time; 0 is as many as the cluster has room for."""
    held_out: float = setting(0.1, Decides.SEARCH, gt=0.0, lt=1.0)
    """Share of the training images that trials are scored on and not trained on (see train.held_out)."""
    reduction: float = setting(3.0, Decides.SEARCH, gt=1.0)
    """ASHA: one trial in so many goes on after joint.validate_every steps, and after so many times more."""
    seeds: int = setting(3, Decides.SEARCH, ge=0)
    """Trainings, with seeds that no trial had, of the best values and of the paper's weights; 0 is none."""
    seed: int = setting(0, Decides.SEARCH, ge=0, le=2**32 - 1)  # as Optuna takes them
    """Seed of the search."""
    push: Range = setting((1e-4, 1.0), Decides.SEARCH)
    """loss.push, as all others but the cut on a logarithmic scale."""
    pull: Range = setting((1e-4, 1.0), Decides.SEARCH)
    """loss.pull."""
    edge: Range = setting((1e-6, 1.0), Decides.SEARCH)
    """loss.edge."""
    macro: Range = setting((1e-6, 1.0), Decides.SEARCH)
    """loss.macro."""
    lr: Range = setting((1e-5, 1e-2), Decides.SEARCH)
    """joint.lr."""
    grouping_lr: Range = setting((1e-5, 1e-2), Decides.SEARCH)
    """joint.grouping_lr."""
    cut: Range = setting((0.3, 0.7), Decides.SEARCH)
    """grouping.cut."""

    @model_validator(mode="after")
    def _ranges_make_sense(self) -> "TuneConfig":
        for name in ("push", "pull", "edge", "macro", "lr", "grouping_lr", "cut"):
            low, high = getattr(self, name)
            if not (0 < low < high and isfinite(high)):
                raise ValueError(f"{name}=[{low:g}, {high:g}]: give two numbers above 0, the lower one first")
        if self.cut[1] > 1:
            raise ValueError(f"cut=[{self.cut[0]:g}, {self.cut[1]:g}] goes above 1: it is a probability")
        return self
