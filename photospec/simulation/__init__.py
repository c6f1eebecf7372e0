"""Mock surveys: galaxies with known properties, their images and their fibre spectra.

`Survey` describes sky and instrument; `Survey.simulate` renders pairs in memory and
`simulate_pairs` streams them to a file.
"""

from photospec.simulation import surveys as _surveys  # noqa: F401 - registers them
from photospec.simulation.galaxies.evolution import EvolutionConfig
from photospec.simulation.galaxies.population import PopulationConfig, draw_galaxies
from photospec.simulation.galaxies.sed import render_spectra
from photospec.simulation.instrument.fibre import InstrumentConfig
from photospec.simulation.instrument.noise import NoiseConfig
from photospec.simulation.instrument.psf import PsfConfig
from photospec.simulation.instrument.scene import SceneConfig
from photospec.simulation.pairs import SimulatedPairs
from photospec.simulation.real_galaxies import RealGalaxies, simulate_real_pairs
from photospec.simulation.survey import SURVEYS, Survey, register_survey
from photospec.simulation.write import simulate_pairs

__all__ = [
    "SURVEYS",
    "EvolutionConfig",
    "InstrumentConfig",
    "NoiseConfig",
    "PopulationConfig",
    "PsfConfig",
    "RealGalaxies",
    "SceneConfig",
    "SimulatedPairs",
    "Survey",
    "draw_galaxies",
    "register_survey",
    "render_spectra",
    "simulate_pairs",
    "simulate_real_pairs",
]
