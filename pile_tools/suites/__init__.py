"""Suites: named families of models with their dataset, order, batch size and checkpoints, as data files."""

from pile_tools.suites.suite import (
    Checkpoint,
    Suite,
    SuiteDataset,
    SuiteOrder,
    list_suites,
    load_suite,
    suite_of_model,
)

__all__ = ["Checkpoint", "Suite", "SuiteDataset", "SuiteOrder", "list_suites", "load_suite", "suite_of_model"]
