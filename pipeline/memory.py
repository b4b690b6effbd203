"""How much memory a process has held."""

import resource
import sys

MAXRSS_UNITS_PER_MIB = 1 << (20 if sys.platform == "darwin" else 10)  # bytes there, KiB elsewhere


def peak_mib() -> float:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAXRSS_UNITS_PER_MIB
