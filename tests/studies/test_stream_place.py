"""A stream as it is named to another process, and ranges of its steps."""

import pickle

from pile_tools.storage.proofs import Proofs, use_proofs
from pile_tools.studies.stream_place import StreamPlace


def test_another_process_opens_the_same_stream(place: StreamPlace) -> None:
    sent = pickle.loads(pickle.dumps(StreamPlace(place.data, batch_size=2)))
    viewer = sent.open()
    assert viewer.batch_size == 2
    assert viewer.identity == place.open().identity


def test_files_are_trusted_where_they_are_at_the_time(place: StreamPlace) -> None:
    assert not place.trust_files
    with use_proofs(Proofs(trust=True)):
        assert StreamPlace(place.data).trust_files
