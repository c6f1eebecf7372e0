"""Benchmarks of the scripts, found by asv here."""

from archive_throughput import Throughput
from published_speed import PublishedSpeed
from ratios import Ratios

__all__ = ["PublishedSpeed", "Ratios", "Throughput"]
