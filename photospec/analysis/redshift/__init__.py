"""Redshift of spectra: coarse scan, fine fit, errors, quasars.

The order of the stages: `scan` fits templates at every redshift of a coarse grid, `fit` refines
the minima, `errors` inflates the error by a jackknife over parts of the spectrum, `quasars`
asks whether broad lines explain the spectrum better, and `measure` decides and flags.
"""

from photospec.analysis.redshift.measure import (
    RedshiftFit,
    RedshiftWarning,
    measure_redshift,
    warning_names,
)

__all__ = ["RedshiftFit", "RedshiftWarning", "measure_redshift", "warning_names"]
