"""Stellar populations and kinematics by pPXF's method, and our fast form of it.

The order of the stages: `log_spectrum` rebins, `templates` and `resolution` prepare the models,
`kinematics` finds velocity and dispersion, `weights` chooses templates and solves for the
populations with their dust, `errors` and `result` turn the weights into numbers with errors.
"""

from photospec.analysis.populations.fit import fit_populations
from photospec.analysis.populations.result import PopulationFit
from photospec.analysis.populations.templates import TemplateSet, load_templates

__all__ = ["PopulationFit", "TemplateSet", "fit_populations", "load_templates"]
