"""What every worker process of a deduplication needs, made once in the process that they are forked from.

That process imports this module, whose import does work, and nothing else may: numba's first call in
a process and the table of characters take 0.4 s, which each worker would spend again.
"""

import numpy as np

from pile_tools.algorithms.dedup.minhash import permutations
from pile_tools.algorithms.dedup.shingle import sign_documents
from pile_tools.corpus import jsonl
from pile_tools.stages.dedup import decide as dedup_decide
from pile_tools.stages.dedup import group as dedup_group
from pile_tools.stages.dedup import shingle_sets as dedup_sets
from pile_tools.stages.dedup import sign as dedup_sign
from pile_tools.stages.dedup import verify as dedup_verify
from pile_tools.stages.dedup import write as dedup_write

__all__ = [
    "dedup_decide",
    "dedup_group",
    "dedup_sets",
    "dedup_sign",
    "dedup_verify",
    "dedup_write",
    "jsonl",
]

_TEXT = np.frombuffer(b"a text", dtype=np.uint8)

sign_documents(_TEXT, np.array([0, len(_TEXT)]), 5, permutations(1, 1))
