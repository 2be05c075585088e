"""The manifests behind a run: those of its datasets, and of the checkpoint that it was forked from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pile_tools.formats.parents import PARENTS_NAME, History
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import MANIFEST_NAME
from pile_tools.storage.store import LocalStore

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = ["Ancestors"]


@dataclass(frozen=True, slots=True)
class Ancestors:
    """Identities of the manifests that a run was made from, and all manifests known behind them."""

    parents: tuple[str, ...]
    manifests: Mapping[str, bytes]

    @classmethod
    def of(cls, viewer: "BatchViewer", begin: Path | None, *, fork: bool) -> Self:
        """Return those of a run on ``viewer`` that begins with the checkpoint ``begin``.

        A resumed run has the ancestors that its checkpoint carries.
        """
        histories = [] if begin is None else [History.open(LocalStore(begin))]
        if begin is not None and not fork:
            return cls(tuple(histories[0].own.parents), _ancestors(histories))
        histories += [history for part in viewer.stream.parts if (history := part.history()) is not None]
        own = {history.own.identity: history.own.to_bytes() for history in histories}
        return cls(tuple(sorted(own)), _ancestors(histories) | own)

    def write(self, directory: Path) -> list[str]:
        """Write them into ``directory``/parents and return the names of the files."""
        names = []
        for identity, content in sorted(self.manifests.items()):
            names.append(f"{PARENTS_NAME}/{identity}/{MANIFEST_NAME}")
            path = directory / names[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
        return names


def _ancestors(histories: list[History]) -> dict[str, bytes]:
    return {
        identity: manifest.to_bytes()
        for history in histories
        for identity, manifest in history.ancestors.items()
    }
