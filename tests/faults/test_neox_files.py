"""Token datasets and index maps as GPT-NeoX itself leaves them."""

import struct
from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.order_files import MapNames
from pile_tools.stages.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.stages.verify import verify
from tests.token_data import random_documents, write_dataset

SIZES = [10] * 10
LENGTH, SAMPLES, SEED = 3, 20, 1234


def write_maps(directory: Path, suffix: str, epochs: int = 1) -> np.ndarray:
    """Write index maps as GPT-NeoX computes them, in plain loops; return the stream, [N, LENGTH + 1]."""
    documents = random_documents(1, SIZES)
    write_dataset(directory, documents)
    generator = np.random.RandomState(SEED)
    doc_idx = np.tile(np.arange(len(SIZES), dtype=np.int32), epochs)
    generator.shuffle(doc_idx)
    flat = np.concatenate([documents[document] for document in doc_idx])
    n = (len(flat) - 1) // LENGTH
    sample_idx = np.array([divmod(i * LENGTH, SIZES[0]) for i in range(n + 1)], np.int32)
    shuffle_idx = np.arange(n, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    for name, array in (("doc", doc_idx), ("sample", sample_idx), ("shuffle", shuffle_idx)):
        np.save(directory / f"document_train_0_indexmap_{suffix}_{name}_idx.npy", array)
    return np.stack([flat[i * LENGTH : i * LENGTH + LENGTH + 1] for i in shuffle_idx.tolist()])


@pytest.mark.parametrize("boundaries", [[], [0], [0, 1, 2], [7, 3], list(range(11))])
def test_document_boundaries_that_no_order_uses_are_not_checked(
    boundaries: list[int], tmp_path: Path
) -> None:
    """GPT-NeoX's merge adds sizes and data and no boundary, so that doc_idx stays [0]."""
    documents = random_documents(2, SIZES)
    write_dataset(tmp_path, documents)
    path = tmp_path / "document.idx"
    content = bytearray(path.read_bytes())
    content[26:34] = struct.pack("<Q", len(boundaries))
    body = content[: 34 + 12 * len(SIZES)]
    path.write_bytes(body + np.array(boundaries, "<i8").tobytes())
    make_order(tmp_path, seq_length=LENGTH, batch_size=2, steps=10)
    generator = np.random.RandomState(SEED)
    doc_idx = np.arange(len(SIZES), dtype=np.int32)
    generator.shuffle(doc_idx)
    flat = np.concatenate([documents[document] for document in doc_idx])
    shuffle_idx = np.arange((len(flat) - 1) // LENGTH, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    wanted = [flat[i * LENGTH : i * LENGTH + LENGTH + 1] for i in shuffle_idx.tolist()]
    for io in ("mmap", "pread"):
        viewer = BatchViewer.open(tmp_path, io=io)
        np.testing.assert_array_equal(np.concatenate(list(viewer.batches(0, 10))), wanted[:20])
    verify([tmp_path])
    recut(tmp_path, tmp_path / "merged", shard_bytes=None)
    assert (tmp_path / "merged" / "document.idx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("packing", ["", "_packedpi", "_packedpi_ac"])
def test_maps_of_any_year_end_after_the_samples_in_their_name(packing: str, tmp_path: Path) -> None:
    stream = write_maps(tmp_path, f"{SAMPLES}ns_{LENGTH}sl_{SEED}s{packing}")
    viewer = BatchViewer.open(tmp_path, order="train_0", batch_size=2)
    assert viewer.steps == 10
    np.testing.assert_array_equal(np.concatenate(list(viewer.batches(0, 10))), stream[:20])
    assert "as the recipe neox makes it" in next(
        finding.message for finding in verify([tmp_path]) if finding.check == "orders"
    )


@pytest.mark.parametrize("packing", ["", "_packedpi_ac"])
def test_maps_of_whole_epochs_have_all_their_samples(packing: str, tmp_path: Path) -> None:
    stream = write_maps(tmp_path, f"Nonens_{LENGTH}sl_{SEED}s{packing}", epochs=2)
    viewer = BatchViewer.open(tmp_path, order="train_0", batch_size=2)
    assert viewer.steps == len(stream) // 2
    np.testing.assert_array_equal(viewer.batch(viewer.steps - 1), stream[2 * viewer.steps - 2 :][:2])
    assert "as the recipe neox makes it" in next(
        finding.message for finding in verify([tmp_path]) if finding.check == "orders"
    )


@pytest.mark.parametrize("packing", ["pack_until_overflow", "unpacked"])
def test_maps_of_padded_samples_are_refused(packing: str, tmp_path: Path) -> None:
    write_maps(tmp_path, f"{SAMPLES}ns_{LENGTH}sl_{SEED}s_{packing}pi_ac")
    with pytest.raises(PileToolsError, match=f"packing {packing}pi_ac"):
        BatchViewer.open(tmp_path, batch_size=2)


def test_an_order_under_the_names_of_2024_holds_the_same_arrays(tmp_path: Path) -> None:
    stream = write_maps(tmp_path / "theirs", f"{SAMPLES}ns_{LENGTH}sl_{SEED}s_packedpi_ac")
    write_dataset(tmp_path / "ours", random_documents(1, SIZES))
    shape = {"seq_length": LENGTH, "batch_size": 2, "num_samples": SAMPLES}
    made = make_order(tmp_path / "ours", names="neox-2024", **shape)
    assert sorted(entry.name for entry in made.record.files) == sorted(
        path.name for path in (tmp_path / "theirs").glob("*.npy")
    )
    for entry in made.record.files:
        assert (tmp_path / "ours" / entry.name).read_bytes() == (
            tmp_path / "theirs" / entry.name
        ).read_bytes()
    viewer = BatchViewer.open(tmp_path / "ours", order="train_0")
    np.testing.assert_array_equal(viewer.batch(3), stream[6:8])
    for recipe, names in (("sequential", "neox-2024"), ("neox", "neox-2025")):
        with pytest.raises(ParameterError, match=names):
            make_order(tmp_path / "ours", recipe=recipe, names=names, **shape)


@pytest.mark.parametrize(
    "label",
    [
        "a_train_0_indexmap_5ns_6sl_7s",
        "a_b_indexmap_Nonens_6sl_7s_packedpi_ac",
        "a_b_indexmap_5ns_6sl_7s_xpi",
    ],
)
def test_names_of_maps_round_trip(label: str) -> None:
    names = MapNames.parse(label)
    assert names is not None
    assert names.label == label
