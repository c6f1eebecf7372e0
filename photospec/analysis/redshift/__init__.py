"""Redshift of spectra: coarse scan, fine fit, consistency, quasars.

The order of the stages: `scan` fits templates at every redshift of a coarse grid, `fit` refines
the minima, `consistency` inflates the error by how parts of the spectrum disagree, `quasars`
asks whether broad lines explain the spectrum better, and `measure` decides and flags.
"""

from photospec.analysis.redshift.measure import (
    RedshiftFit,
    RedshiftWarning,
    measure_redshift,
    redshift_density,
)

__all__ = ["RedshiftFit", "RedshiftWarning", "measure_redshift", "redshift_density"]
