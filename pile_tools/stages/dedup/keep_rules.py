"""Keep rules of a deduplication: which document of a component stays.

Another rule is a row of ``KEEP_RULES``: the command line and the check of the parameter read the table.
"""

from dataclasses import dataclass
from typing import Final

from pile_tools.errors import ParameterError

__all__ = ["KEEP_RULES", "KeepRule", "find_rule"]


@dataclass(frozen=True, slots=True)
class KeepRule:
    """The first document in corpus order stays, or the last with ``take_last``.

    With ``weight``, a field of the documents (see `formats.signatures`), it is the first of the greatest.
    """

    take_last: bool = False
    weight: str | None = None


KEEP_RULES: Final = {
    "first": KeepRule(),
    "last": KeepRule(take_last=True),
    "longest": KeepRule(weight="bytes"),
}
"""The keep rules by name."""


def find_rule(name: str) -> KeepRule:
    """Return a keep rule; ParameterError for a name that the table does not have."""
    if name not in KEEP_RULES:
        raise ParameterError(f"keep {name!r}: must be one of {', '.join(KEEP_RULES)}")
    return KEEP_RULES[name]
