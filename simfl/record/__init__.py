"""What is written: the HDF5 trace, its tables, and how it is read."""

from simfl.record.reader import Trace
from simfl.record.writer import TraceWriter

__all__ = ["Trace", "TraceWriter"]
