"""The stream of a suite as the parent of an overlay."""

from pathlib import Path

from pile_tools.errors import ParameterError
from pile_tools.formats.overlay_json import ParentPlace
from pile_tools.storage.block_cache import BlockCache
from pile_tools.storage.store import Io
from pile_tools.storage.urls import child, without_credentials
from pile_tools.stream.opening import OpenedStream, open_location
from pile_tools.stream.suite_stream import open_suite
from pile_tools.studies.intervene.overlay_writer import order_name, relative_location
from pile_tools.suites import load_suite

__all__ = ["open_suite_parent"]


def open_suite_parent(
    name: str, output: Path, order: str | None, io: Io, cache: BlockCache | None
) -> tuple[str, OpenedStream]:
    """Return the location of a suite's dataset, by which an overlay names its parent, and its stream.

    Raises ParameterError where the location alone does not name the stream.
    """
    suite = load_suite(name)
    stream = open_suite(suite, order, io, cache)
    location = suite.dataset.location
    if suite.dataset.prefix is not None:
        location = child(location, suite.dataset.prefix)
    label = order_name(stream, output)
    parent = ParentPlace(relative_location(output, location), label).seen_from(str(output))
    if open_location(*parent, io, cache).identity() != stream.identity():
        raise ParameterError(
            f"suite {suite.name}: {without_credentials(location)} alone does not name its stream, which a "
            "counterfactual stream needs; fetch the steps with `pile-tools fetch` and name those with --data"
        )
    return location, stream
