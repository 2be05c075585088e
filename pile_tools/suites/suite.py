"""One suite, read from its JSON file: one of ours by name, or a user's by path."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pile_tools.errors import ParameterError
from pile_tools.formats.mmidx import TOKEN_DTYPES
from pile_tools.formats.token_dataset import DatasetLayout
from pile_tools.jobs.join_files import shard_name
from pile_tools.storage.records import (
    Mismatch,
    fields,
    file_name,
    integer,
    items,
    location,
    mapping,
    one_of,
    optional,
    parse_json,
    read_value,
    text,
)
from pile_tools.storage.urls import is_url, without_credentials

__all__ = ["Checkpoint", "Suite", "SuiteDataset", "SuiteOrder", "list_suites", "load_suite", "suite_of_model"]

_FORMAT: Final = "pile-tools suite 1"
_REMEDY: Final = "write it as docs/remote.md says"
# A name has five digits for the number of a shard, and a schedule of checkpoints is listed whole.
_MOST_SHARDS: Final = 100_000
_MOST_CHECKPOINTS: Final = 1_000_000
_BRANCH: Final = re.compile(r"step(\d+)")


@dataclass(frozen=True, slots=True)
class SuiteDataset:
    """A published token dataset; None stands for what is not known for certain.

    ``shards`` data files of ``shard_bytes`` each but the last, of ``last_shard_bytes``; ``dtype`` and
    ``sequences`` as its .idx file must say; ``sequence_tokens`` where all sequences are of one size.
    """

    location: str
    prefix: str | None
    shards: int | None
    shard_bytes: int | None
    last_shard_bytes: int | None
    dtype: str | None
    sequences: int | None
    sequence_tokens: int | None

    def layout(self) -> DatasetLayout | None:
        """Return the names and sizes of the data files, or None where some of it is not known."""
        known = (self.prefix, self.shards, self.shard_bytes, self.last_shard_bytes)
        if self.prefix is None or self.shards is None or None in known:
            return None
        last = self.shards - 1
        sizes = [self.shard_bytes] * last + [self.last_shard_bytes]
        if self.shards == 1:
            names = [f"{self.prefix}.bin"]
        else:
            names = [shard_name(self.prefix, index, last) for index in range(self.shards)]
        parts = tuple((name, int(size or 0)) for name, size in zip(names, sizes, strict=True))
        return DatasetLayout(self.prefix, parts, self.sequence_tokens)


@dataclass(frozen=True, slots=True)
class SuiteOrder:
    """How training reads the dataset: ``recipe`` "sequential", or maps published at ``location``.

    ``seeds`` names the orders and the seed that each is made with.
    """

    recipe: str
    location: str | None = None
    name: str | None = None
    num_samples: int | None = None
    seeds: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint after ``step`` steps: it has seen ``samples`` samples of ``tokens`` tokens in all."""

    step: int
    branch: str
    samples: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite; ``notes`` say what is peculiar to it, ``uncertain`` what is not known for certain of it."""

    name: str
    title: str
    dataset: SuiteDataset
    order: SuiteOrder
    seq_length: int
    batch_size: int
    steps: int
    tokenizer: str | None
    checkpoint_rule: Mapping[str, Any]
    models: tuple[str, ...]
    notes: tuple[str, ...]
    uncertain: tuple[str, ...]

    def checkpoints(self) -> list[Checkpoint]:
        """Return the schedule: the first ones, then one every so many steps up to the last."""
        rule = self.checkpoint_rule
        steps = sorted({*rule["first"], *range(rule["every"], self.steps + 1, rule["every"])})
        factor = rule.get("branch_factor", 1)
        return [
            Checkpoint(
                step,
                f"step{step * factor}",
                step * self.batch_size,
                step * self.batch_size * self.seq_length,
            )
            for step in steps
        ]

    def step_of(self, branch: str) -> int | None:
        """Return the step after which the checkpoint in ``branch`` is; None for the name of no checkpoint."""
        match = _BRANCH.fullmatch(branch)
        if match is None:
            return None
        step, rest = divmod(int(match[1]), self.checkpoint_rule.get("branch_factor", 1))
        return None if rest else step

    def order_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the suite's order for `make_order`, with the seed of ``given``."""
        order = self.order
        if order.recipe != "neox" or order.seeds is None:
            raise ParameterError(
                f"suite {self.name}: its order is that of the published data; there is none to make"
            )
        if given["seed"] not in order.seeds.values():
            known = ", ".join(map(str, order.seeds.values()))
            raise ParameterError(f"suite {self.name}: seed {given['seed']} is none of {known}")
        return {
            "seed": given["seed"],
            "recipe": order.recipe,
            "name": order.name,
            "seq_length": self.seq_length,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "num_samples": order.num_samples,
        }

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Suite":
        """Return the suite that ``content``, the bytes of the file ``where``, describes."""
        value = parse_json(content, where, "a suite", _REMEDY)
        suite: Suite = read_value(value, where, _SUITE, "a suite", _REMEDY)
        return suite


def _checked(format: str, checkpoints: dict[str, Any], **values: Any) -> Suite:
    """Make a suite of its fields; Mismatch where they contradict each other."""
    suite = Suite(**values, checkpoint_rule=checkpoints)
    if suite.steps // checkpoints["every"] > _MOST_CHECKPOINTS:
        raise Mismatch(checkpoints["every"], f"at least {suite.steps // _MOST_CHECKPOINTS:,} steps")
    for step in checkpoints["first"]:
        if step > suite.steps:
            raise Mismatch(step, f"one of the steps from 0 to {suite.steps}")
    size = suite.dataset.sequence_tokens
    if size is not None and size != suite.seq_length + 1:
        raise Mismatch(size, f"dataset.sequence_tokens: seq_length {suite.seq_length} + 1")
    if suite.order.recipe == "neox" and not suite.order.seeds:
        raise Mismatch(suite.order.seeds, "order.seeds, which name the orders")
    return suite


_PREFIX: Final = optional(file_name(nested=False))
_DATASET: Final = fields(
    {
        "location": location(),
        "prefix": _PREFIX,
        "shards": optional(integer(1, _MOST_SHARDS)),
        "shard_bytes": optional(integer(1)),
        "last_shard_bytes": optional(integer(1)),
        "dtype": optional(one_of([dtype.name for dtype in TOKEN_DTYPES])),
        "sequences": optional(integer()),
        "sequence_tokens": optional(integer(1)),
    },
    SuiteDataset,
)
_ORDER: Final = fields(
    {"recipe": one_of(("sequential", "neox"))},
    SuiteOrder,
    absent={
        "location": optional(location()),
        "name": _PREFIX,
        "num_samples": optional(integer(1)),
        "seeds": optional(mapping(text(), integer())),
    },
)
_CHECKPOINTS: Final = fields(
    {"first": items(integer()), "every": integer(1)}, absent={"branch_factor": integer(1)}
)
_SUITE: Final = fields(
    {
        "format": one_of([_FORMAT]),
        "name": text(),
        "title": text(),
        "dataset": _DATASET,
        "order": _ORDER,
        "seq_length": integer(1),
        "batch_size": integer(1),
        "steps": integer(1),
        "tokenizer": optional(text()),
        "checkpoints": _CHECKPOINTS,
        "models": items(text()),
        "notes": items(text()),
        "uncertain": items(text()),
    },
    _checked,
)


def suite_of_model(model: str) -> Suite | None:
    """Return which of the suites that come with pile-tools the Hub id ``model`` is of, None for none."""
    for suite in list_suites():
        if model.casefold() in (name.casefold() for name in suite.models):
            return suite
    return None


def list_suites() -> list[Suite]:
    """Return the suites that come with pile-tools, in order of their names."""
    names = [entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".json")]
    return [load_suite(name) for name in sorted(name.removesuffix(".json") for name in names)]


def load_suite(suite: str | os.PathLike[str]) -> Suite:
    """Return the suite of that name, or the one in the JSON file ``suite``.

    A dataset's location in a user's file may be relative to the file. Raises ParameterError for a name
    that is none, and lists those there are.
    """
    name = os.fspath(suite)
    entry = files(__package__) / f"{name}.json"
    if "/" not in name and entry.is_file():
        return Suite.parse(entry.read_bytes(), name)
    path = Path(name)
    if not path.is_file():
        known = ", ".join(found.name for found in list_suites())
        raise ParameterError(f"no suite {without_credentials(name)!r} and no such file; there are {known}")
    return _resolved(Suite.parse(path.read_bytes(), name), path.parent)


def _resolved(suite: Suite, base: Path) -> Suite:
    """``suite`` with locations that are relative to ``base`` made ones of this machine."""

    def resolve(location: str) -> str:
        return location if is_url(location) else str(base / location)

    order = suite.order
    if order.location is not None:
        order = replace(order, location=resolve(order.location))
    return replace(
        suite, dataset=replace(suite.dataset, location=resolve(suite.dataset.location)), order=order
    )
