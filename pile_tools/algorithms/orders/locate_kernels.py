"""Compiled code that locates many samples (see ``orders.locate``)."""

import numba
import numpy as np

__all__ = ["copy", "walk"]


@numba.njit(cache=True, nogil=True)
def walk(  # type: ignore[no-untyped-def]
    starts, stops, doc_idx, sizes, n_wanted, fill, row, position, document, offset, n_tokens
):
    """Walk the pieces of all samples; return (pieces, 0, 0, 0) or (−kind of error, row, its two values)."""
    count = 0
    for k in range(len(starts)):
        place = np.int64(starts[k, 0])
        start = np.int64(starts[k, 1])
        last = np.int64(stops[k, 0])
        last_offset = np.int64(stops[k, 1])
        if place < 0 or last < place or last >= len(doc_idx) or start < 0 or last_offset < 0:
            return -1, k, place, last
        found = np.int64(0)
        while place <= last:
            number = np.int64(doc_idx[place])
            if number < 0 or number >= len(sizes):
                return -2, k, place, number
            size = np.int64(sizes[number])
            stop = last_offset + 1 if place == last else size
            if size < 0 or stop > size or start > stop:
                return -3, k, number, size
            length = stop - start
            found += length
            if found > n_wanted:
                return -4, k, found, n_wanted
            if length > 0:
                if fill:
                    row[count] = k
                    position[count] = found - length
                    document[count] = number
                    offset[count] = start
                    n_tokens[count] = length
                count += 1
            start = np.int64(0)
            place += 1
        if found != n_wanted:
            return -4, k, found, n_wanted
    return count, 0, np.int64(0), np.int64(0)


@numba.njit(cache=True, nogil=True)
def copy(  # type: ignore[no-untyped-def]
    part, part_start, starts, lengths, targets, out
):
    """Copy ranges of ``part`` as ``locate.copy_pieces`` says."""
    part_stop = part_start + len(part)
    for i in range(len(starts)):
        first = max(starts[i], part_start)
        stop = min(starts[i] + lengths[i], part_stop)
        if first < stop:
            target = targets[i] + first - starts[i]
            source_bytes = part[first - part_start : stop - part_start]
            target_bytes = out[target : target + stop - first]
            # Counted from 0 to a length, which the compiler turns into wide copies.
            for byte in range(len(source_bytes)):
                target_bytes[byte] = source_bytes[byte]
