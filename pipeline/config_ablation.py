"""Settings by which a configuration is a row of the paper's tables: `conf/ablation/*.yaml`."""

from pydantic import Field

from hgg.config import Settings


class PaperConfig(Settings):
    """What the paper reports for a row on COCO val2017, in percent; empty where we could not find it."""

    AP: float | None = None
    """Average precision."""
    AP50: float | None = None
    """Average precision at an OKS of 0.5."""
    AP75: float | None = None
    """Average precision at an OKS of 0.75."""
    AR: float | None = None
    """Average recall."""
    AR50: float | None = None
    """Average recall at an OKS of 0.5."""
    AR75: float | None = None
    """Average recall at an OKS of 0.75."""


class AblationConfig(Settings):
    """Row of Table 2 or graph of Fig. 4a."""

    row: str = Field("", pattern=r"^[a-z0-9_]*$")
    """Name of the row in `jobs/ablate.py --rows`; empty where a configuration is none."""
    title: str = ""
    """What the row means."""
    model_of: str = ""
    """Row whose trained model this row evaluates in another way; empty trains one of its own."""
    draws: int = Field(1, ge=1)
    """Evaluations of each model, by `evaluate.seed`; more than 1 where grouping is random."""
    paper: PaperConfig = PaperConfig()
