"""What a group of settings is, and the mark that each of them bears: what it decides.

Runs, shards and evaluations are known again by what they depend on. So each setting says what it decides, and
one that came later how runs made before it are known; `pipeline/settings/fingerprint.py` reads that.
"""

from enum import Flag, auto
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

MARK = "mark"  # where pydantic keeps it
MOST_INTEGER = 2**63 - 1  # what 64 bits hold, as torch and Parquet take numbers


class Decides(Flag):
    """What comes out otherwise where a setting is another one."""

    PICTURES = auto()
    """The pictures that are drawn."""
    SAMPLES = auto()
    """The training samples, made of the same records."""
    PRETRAIN = auto()
    """The weights of the keypoint proposal network."""
    JOINT = auto()
    """The weights of the whole model, trained from the same proposal network."""
    EVALUATION = auto()
    """The people that a model finds in the same records."""
    SEARCH = auto()
    """What a sweep tries."""


NOTHING = Decides(0)
"""A setting of what is read, where things are kept, who does the work, and what is seen of it."""
WEIGHTS = Decides.PRETRAIN | Decides.JOINT
GROUPING = Decides.JOINT | Decides.EVALUATION
MODEL = WEIGHTS | Decides.EVALUATION


class Mark(NamedTuple):
    """What is known of a setting beside its type and default."""

    decides: Decides
    since: str
    """Day on which it came; empty where runs always had it."""
    before: Any
    """What it was in runs made before that day, as JSON has it."""


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors, and so are numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def setting(default: Any, decides: Decides, *, since: str = "", before: Any = None, **limits: Any) -> Any:
    """A setting with its default and its mark.

    Args:
        default: its value where nobody sets it.
        decides: what comes out otherwise where it is changed.
        since: day on which it came. A new setting must name it and `before`, at which it is left out of all
            fingerprints; else every run of every user begins anew.
        before: what it was until then, as JSON has it.
        limits: of its values, as pydantic's `Field` takes them.
    """
    return Field(default, json_schema_extra={MARK: Mark(decides, since, before)}, **limits)  # pyrefly: ignore


def mark_of(field: FieldInfo) -> Mark | None:
    """The mark of a setting; None where it bears none, as a group of settings."""
    extra = field.json_schema_extra
    mark = extra.get(MARK) if isinstance(extra, dict) else None
    return mark if isinstance(mark, Mark) else None


def group_of(field: FieldInfo) -> type[Settings] | None:
    """The group of settings that a field of a group is, else None."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None
