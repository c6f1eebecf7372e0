"""Stellar populations and kinematics by pPXF's method, and our fast form of it.

The order of the stages: `log_spectrum` rebins, `templates` and `resolution` prepare the models,
`kinematics` finds velocity and dispersion, `steps` chooses templates and dust, `weights` solves
for the populations, `errors` and `finish` turn them into numbers with errors.
"""

from photospec.analysis.populations.fit import fit_populations
from photospec.analysis.populations.result import PopulationFit
from photospec.analysis.populations.templates import load_templates

__all__ = ["PopulationFit", "fit_populations", "load_templates"]
