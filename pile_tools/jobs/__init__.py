"""Resumable work: tasks, executors, the output directory under way, progress."""
