"""A corpus: the shards that inputs stand for, under the names by which outputs and tables call them."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.corpus_files import SHARD_SUFFIXES
from pile_tools.formats.corpus_search import UNFINISHED_NAME, Member, Search
from pile_tools.formats.names import name_problem
from pile_tools.formats.shard import Shard, natural_key, with_parents

__all__ = [
    "SHARD_SUFFIXES",
    "UNFINISHED_NAME",
    "Corpus",
    "Shard",
    "find_corpus",
    "list_shards",
    "natural_key",
    "with_parents",
]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Shards in natural order of names, and how many files were passed over on purpose, by kind."""

    shards: list[Shard]
    passed_over: dict[str, int]


def find_corpus(inputs: Iterable[str | os.PathLike[str]], *, leave_out: Path | None = None) -> Corpus:
    """Find the shards that files, directories and glob patterns stand for, in natural order of names.

    A directory is searched through all its folders, and its shards are named relative to it. Files and
    folders whose names begin with a dot are passed over and counted, and so are README files and the
    like; any other file that is no shard is an error. What `pile-tools dedup` made is known by its
    manifest wherever it is: the shards are those that the manifest lists. A file's name is its last
    part, or of a stage's output the name in its manifest. Where two directories have shards of one
    name, the name of its directory is put before that of each shard. Neither a search nor a pattern
    looks into the directory ``leave_out``, where the output of a stage may lie inside its input.

    Raises PileToolsError where an input is missing, stands for nothing or cannot be read, ParameterError
    where a file is no shard, two files would have the same name or one file is reached in two ways, and
    UnfinishedError for the directory of an unfinished stage.
    """
    search = Search(leave_out)
    members = [member for name in inputs for member in search.find(name)]
    if not members:
        raise PileToolsError("no input: name at least one file, directory or pattern")
    _refuse_same_file(members)
    shards = _named_apart(members)
    for shard in shards:
        problem = name_problem(shard.name)
        if problem is not None:
            raise ParameterError(f"{shard.name!r}: a name {problem}, and tables hold it; rename the file")
    shards.sort(key=lambda shard: (natural_key(shard.name), shard.name))
    for left, right in pairwise(shards):
        if left.name == right.name:
            raise ParameterError(
                f"{left.path} and {right.path}: both would be called {left.name}; give files of different "
                "folders by the directory above them"
            )
    return Corpus(shards, dict(sorted(search.passed_over.items())))


def list_shards(inputs: Iterable[str | os.PathLike[str]], *, leave_out: Path | None = None) -> list[Shard]:
    """Return the shards of `find_corpus`."""
    return find_corpus(inputs, leave_out=leave_out).shards


def _refuse_same_file(members: Iterable[Member]) -> None:
    paths: dict[tuple[int, int], Path] = {}
    for member in members:
        path = member.shard.path
        status = path.stat()
        other = paths.setdefault((status.st_dev, status.st_ino), path)
        if other is not path:
            raise ParameterError(
                f"{other} and {path}: one file that is reached in two ways, whose documents would be read "
                "twice; give each file once, and no link to it"
            )


def _named_apart(members: Sequence[Member]) -> list[Shard]:
    """The shards, with the name of its directory before that of each where names would be the same.

    Directories of one name are told apart by as many of the folders above them as that takes.
    """
    counts = Counter(member.shard.name for member in members)
    same = [member for member in members if counts[member.shard.name] > 1]
    if not same or any(member.base is None for member in same):
        return [member.shard for member in members]
    bases = {member.base: member.base.resolve() for member in members if member.base is not None}
    parts = 1
    while len({base.parts[-parts:] for base in bases.values()}) < len(set(bases.values())):
        parts += 1
    return [
        member.shard
        if member.base is None
        else member.shard.called("/".join((*bases[member.base].parts[-parts:], member.shard.name)))
        for member in members
    ]
