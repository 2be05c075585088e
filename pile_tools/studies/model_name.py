"""How models are named: a directory, or a Hub id with a revision. Needs no torch."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import orjson

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.hub_ids import split_hub_id
from pile_tools.suites import suite_of_model
from pile_tools.train.files import DATA_NAME

__all__ = ["ModelName"]

# Owner of the models of all suites that come with pile-tools.
_OWNER: Final = "EleutherAI"
_STEP: Final = re.compile(r"step(\d+)")


@dataclass(frozen=True, slots=True)
class ModelName:
    """``location`` is a directory or a Hub id; ``revision`` a branch, tag or commit of the latter."""

    location: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> Self:
        """Return what ``text`` names: a directory, ``owner/name`` or ``owner/name@revision``.

        Raises PileToolsError for a path where no directory is.
        """
        if Path(text).is_dir():
            return cls(text, revision)
        location, at, own = text.partition("@")
        if at and revision is not None and own != revision:
            raise ParameterError(f"{text}: names a revision, and --revision says {revision!r}; give one")
        if not location or (at and not own):
            raise ParameterError(f"{text!r} is neither a directory nor a Hub id (owner/name@revision)")
        name = cls(location, own or revision)
        split_hub_id(str(name), "directory")  # now, and not after hours on other models
        return name

    def __str__(self) -> str:
        return self.location if self.revision is None else f"{self.location}@{self.revision}"

    def steps(self) -> int | None:
        """Return how many steps the checkpoint has read: as its ``data.json`` records, else as its name says
        (``stepN``, the directory's or the revision's) by the rule of its suite; None where neither does.

        A model is of a suite by its Hub id, or by the name of the directory that its checkpoints are in.
        """
        path = Path(self.location) / DATA_NAME
        if path.is_file():
            try:
                steps = orjson.loads(path.read_bytes())["steps"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise DataError(f"{path}: damaged; use another checkpoint") from None
            if type(steps) is not int or steps < 0:
                raise DataError(f"{path}: steps {steps!r}; use another checkpoint")
            return steps
        directory = Path(os.path.abspath(self.location))
        model = self.location if self.revision is not None else f"{_OWNER}/{directory.parent.name}"
        branch = self.revision if self.revision is not None else directory.name
        suite = suite_of_model(model)
        if suite is not None:
            return suite.step_of(branch)
        match = _STEP.fullmatch(branch)
        return int(match[1]) if match else None
