"""Mock surveys: galaxies with known properties, their images and their fibre spectra.

`Survey` describes sky and instrument; `Survey.simulate` renders pairs in memory and
`simulate_pairs` streams them to a file.
"""

from photospec.simulation.batch import Batch
from photospec.simulation.galaxies.population import PopulationConfig, draw_galaxies
from photospec.simulation.galaxies.sed import render_spectra
from photospec.simulation.instrument.fibre import SpectrographConfig
from photospec.simulation.instrument.noise import NoiseConfig
from photospec.simulation.instrument.psf import PsfConfig
from photospec.simulation.instrument.scene import SceneConfig
from photospec.simulation.survey import Survey
from photospec.simulation.write import simulate_pairs

__all__ = [
    "Batch",
    "NoiseConfig",
    "PopulationConfig",
    "PsfConfig",
    "SceneConfig",
    "SpectrographConfig",
    "Survey",
    "draw_galaxies",
    "render_spectra",
    "simulate_pairs",
]
