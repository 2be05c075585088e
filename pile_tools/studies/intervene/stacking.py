"""Overlays on overlays: what a lower one has taken out of a range must not come back into it.

Samples that are packed anew are filled with text of the base's packing, which knows no overlay.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from pile_tools.algorithms.orders.repack import Piece
from pile_tools.errors import ParameterError
from pile_tools.stream.components import Component
from pile_tools.stream.overlay import OverlayComponent

__all__ = ["refuse_retokenised", "refuse_shown_again"]


def refuse_retokenised(component: Component, first: int, last: int, batch: int) -> None:
    """Raise ParameterError where an overlay of ``component`` has re-tokenised text of samples [first, last).

    The text that would fill samples there still has the words that it swapped.
    """
    for layer in _layers(component):
        start, stop = max(first, layer.record.first_sample), min(last, layer.record.last_sample)
        if start < stop and len(layer.packed_anew) and layer.documents is None:
            raise ParameterError(
                f"{layer.name}: has swapped words that are not one token in steps {start // batch}:"
                f"{-(-stop // batch)}; change documents first, and swap such words after that, by one table"
            )


def refuse_shown_again(
    component: Component,
    samples: Mapping[int, Sequence[Piece]],
    origin: Callable[[int], int],
    *,
    first_sample: int,
    batch: int,
) -> None:
    """Raise ParameterError where one of ``samples``, packed anew, shows a document that an overlay of
    ``component`` has dropped, replaced or moved there, and did not show it before.

    ``origin(document)`` is the document that an added one is a part of; ``first_sample`` that of the stream.
    """
    for layer in _layers(component):
        if layer.documents is None:
            continue
        changed = set(layer.documents.tolist())
        for sample, pieces in samples.items():
            if not layer.record.first_sample <= sample < layer.record.last_sample:
                continue
            shown = changed & {origin(document) for document, _, _ in pieces}
            if shown:
                shown -= set(component.pieces(np.array([sample - first_sample])).document.tolist())
            if shown:
                step, row = divmod(sample, batch)
                raise ParameterError(
                    f"step {step}, row {row}: would be filled with document {min(shown)}, which the overlay "
                    f"{layer.name} has changed there; change all documents in one overlay"
                )


def _layers(component: Component) -> Iterator[OverlayComponent]:
    while isinstance(component, OverlayComponent):
        yield component
        component = component.parent
