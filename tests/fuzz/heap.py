"""What libhdf5 takes for texts and rows of variable length, measured read by read: a known defect, told from ours.

HDF5 2.0 believes a damaged global heap: it goes through it without end (H5HG__cache_heap_deserialize), allocates and
works through lengths that it has not checked (H5T__conv_vlen), or reads past them and crashes. Only what it spends
inside of such a read, beyond what the read gives back, is its own; reads of numbers, whose sizes we are to check first,
are not measured here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from h5py import h5a

from tests.fuzz.target import Taken, peak_mib

KNOWN = "HDF5 2.0 believes lengths and free space of a damaged global heap"
BEGINS, ENDS = "variable-length read begins", "variable-length read ends"
"""Lines on standard error, for who watches a process that may never come back."""


@contextmanager
def variable_length_reads(says: bool) -> Iterator[Taken]:
    """Measure all reads of variable length inside the block; with `says`, with a line before and after each."""
    taken = Taken(KNOWN)
    data, attribute = h5py.Dataset.__getitem__, h5py.AttributeManager.__getitem__

    def measured(dtype: np.dtype[Any], read: Callable[[], Any]) -> Any:
        if not dtype.hasobject:  # h5py's type for what has no fixed length
            return read()
        if says:
            print(BEGINS, file=sys.stderr, flush=True)
        seconds, peak, given = time.process_time(), peak_mib(), 0.0
        try:
            values = read()
            given = sum(sys.getsizeof(item) for item in np.ravel(np.asarray(values, object))) / 2**20
        finally:
            taken.seconds += time.process_time() - seconds
            taken.memory_mib += max(0.0, peak_mib() - peak - given)
            if says:
                print(ENDS, file=sys.stderr, flush=True)
        return values

    def of_data(self: h5py.Dataset, *args: Any, **options: Any) -> Any:
        return measured(self.dtype, lambda: data(self, *args, **options))

    def of_attribute(self: h5py.AttributeManager, name: str) -> Any:
        return measured(h5a.open(self._id, self._e(name)).dtype, lambda: attribute(self, name))

    with (
        patch.object(h5py.Dataset, "__getitem__", of_data),
        patch.object(h5py.AttributeManager, "__getitem__", of_attribute),
    ):
        yield taken
