"""What the spellings of a joint's name have in common."""

import re

SIDES = {"l": "left", "r": "right"}


def words(joint: str) -> tuple[str, ...]:
    """What a joint's name has in all spellings: `left_eye`, `Left Eye`, `leftEye`, `LEye` are one."""
    found = (word.lower() for word in re.findall(r"[A-Z](?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+", joint))
    return tuple(sorted(SIDES.get(word, word) for word in found))
