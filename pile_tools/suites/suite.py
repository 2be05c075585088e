"""One suite, read from its JSON file: one of ours by name, or a user's by path."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

import orjson

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.names import name_problem
from pile_tools.formats.pieces import shard_name
from pile_tools.formats.token_dataset import DatasetLayout
from pile_tools.formats.urls import is_url, without_credentials

__all__ = ["Checkpoint", "Suite", "SuiteDataset", "SuiteOrder", "list_suites", "load_suite", "suite_of_model"]

_FORMAT: Final = "pile-tools suite 1"
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
    def parse(cls, content: bytes, where: str) -> Self:
        """Return the suite that ``content``, the bytes of the file ``where``, describes."""
        try:
            value: dict[str, Any] = orjson.loads(content)
            if value.pop("format") != _FORMAT:
                raise ValueError(f"format is not {_FORMAT!r}")
            dataset = SuiteDataset(**value.pop("dataset"))
            order = SuiteOrder(**value.pop("order"))
            rule = value.pop("checkpoints")
            texts: dict[str, Any] = {
                name: tuple(map(str, value.pop(name))) for name in ("models", "notes", "uncertain")
            }
            suite = cls(**value, **texts, dataset=dataset, order=order, checkpoint_rule=rule)
            suite.check()
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: not a suite ({type(error).__name__}: {error})") from None
        return suite

    def check(self) -> None:
        """Raise ValueError for values of the wrong kind, or that contradict each other."""
        numbers = (self.seq_length, self.batch_size, self.steps, self.checkpoint_rule["every"])
        if not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError("seq_length, batch_size, steps and checkpoints.every must be positive integers")
        if not isinstance(self.dataset.location, str):
            raise ValueError("dataset.location must be a directory or a URL")
        self._check_order()
        self._check_checkpoints()
        size = self.dataset.sequence_tokens
        if size is not None and size != self.seq_length + 1:
            raise ValueError(f"dataset.sequence_tokens {size} is not seq_length {self.seq_length} + 1")
        for name in (self.dataset.prefix, self.order.name):
            problem = None if name is None else name_problem(name, nested=False)
            if problem is not None:
                raise ValueError(f"the name {name!r}, {problem}")
        self.dataset.layout()

    def _check_order(self) -> None:
        order = self.order
        if order.recipe not in ("sequential", "neox"):
            raise ValueError(f"order.recipe {order.recipe!r} is neither sequential nor neox")
        if order.recipe == "neox" and not order.seeds:
            raise ValueError("order.seeds names no order")
        seeds = {} if order.seeds is None else order.seeds
        if not isinstance(seeds, dict) or not all(type(seed) is int for seed in seeds.values()):
            raise ValueError("order.seeds must give a seed, an integer, for each name")
        if not all(value is None or isinstance(value, str) for value in (order.location, order.name)):
            raise ValueError("order.location and order.name must be texts")
        if not (order.num_samples is None or (type(order.num_samples) is int and order.num_samples > 0)):
            raise ValueError("order.num_samples must be a positive integer")

    def _check_checkpoints(self) -> None:
        rule = self.checkpoint_rule
        first, factor = rule["first"], rule.get("branch_factor", 1)
        if type(factor) is not int or factor < 1:
            raise ValueError("checkpoints.branch_factor must be a positive integer")
        if not isinstance(first, list) or not all(
            type(step) is int and 0 <= step <= self.steps for step in first
        ):
            raise ValueError(f"checkpoints.first must be steps from 0 to {self.steps}")


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
