"""A stream as it is named to another process, and ranges of its steps."""

import pickle

import pytest

from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.storage.proofs import Proofs, use_proofs
from pile_tools.studies.stream_place import StreamPlace, check_steps


def test_another_process_opens_the_same_stream(place: StreamPlace) -> None:
    sent = pickle.loads(pickle.dumps(StreamPlace(place.data, batch_size=2)))
    viewer = sent.open()
    assert viewer.batch_size == 2
    assert viewer.identity == place.open().identity


def test_files_are_trusted_where_they_are_at_the_time(place: StreamPlace) -> None:
    assert not place.trust_files
    with use_proofs(Proofs(trust=True)):
        assert StreamPlace(place.data).trust_files


def test_ranges_of_steps(place: StreamPlace) -> None:
    viewer = place.open()
    check_steps(viewer, 0, viewer.steps)
    for start, stop in ((3, 3), (4, 3)):
        with pytest.raises(ParameterError, match="no step"):
            check_steps(viewer, start, stop)
    for start, stop in ((-1, 2), (0, viewer.steps + 1)):
        with pytest.raises(OutOfRangeError, match=f"has steps 0:{viewer.steps} at batch size"):
            check_steps(viewer, start, stop)
