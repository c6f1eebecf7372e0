"""Spectra without noise in a fraction of the time: all that is measured, by linear algebra.

In the order of their work: `redshift` looks at chi2 where it is low; `library` broadens the
templates once for all spectra; `frames` brings spectra to the pixels of the library;
`kinematics` finds velocities and dispersions; `populations` finds dust and weights, with errors;
`emission` fits the lines that are left, and `indices` integrates over bands. The exact path
stays the judge of all of it (``benchmarks/analysis_bulk.py``).
"""

from photospec.analysis.bulk.emission import measure_lines_bulk
from photospec.analysis.bulk.frames import reason_not_bulk
from photospec.analysis.bulk.populations import fit_populations_bulk
from photospec.analysis.bulk.redshift import measure_redshift_bulk

__all__ = [
    "fit_populations_bulk",
    "measure_lines_bulk",
    "measure_redshift_bulk",
    "reason_not_bulk",
]
