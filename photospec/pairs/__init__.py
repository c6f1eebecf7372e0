"""Image-spectrum pairs on disk (HDF5): the one data format of the project."""

from photospec.pairs.format import FORMAT
from photospec.pairs.reader import PairsFile
from photospec.pairs.writer import PairsWriter

__all__ = ["FORMAT", "PairsFile", "PairsWriter"]
