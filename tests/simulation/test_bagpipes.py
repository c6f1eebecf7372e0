"""The basis against bagpipes: same history, dust and metallicity, same continuum within 2 %."""

import warnings

import numpy as np
import pytest

from photospec.dust import attenuation_curve
from photospec.simulation.galaxies.cosmology import luminosity_distance
from photospec.simulation.galaxies.photometry import LUMINOSITY_TO_FLUX
from photospec.simulation.galaxies.population import PopulationConfig
from photospec.simulation.galaxies.stars import (
    delayed_tau,
    metallicity_shares,
    stellar_basis,
    weights,
)

# rest-frame windows between emission lines, Angstrom
WINDOWS = [
    (4150, 4300), (4400, 4450), (4520, 4650), (5050, 5150), (5300, 5500), (5600, 5800),
    (6000, 6200), (6400, 6520), (6800, 7000), (7400, 7600),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("age", "tau", "metallicity", "dust", "av"),
    [
        (8.0, 1.0, 1.0, None, 0.0),
        (10.0, 5.0, 1.0, None, 0.0),
        (3.0, 1.0, 0.4, None, 0.0),
        (6.0, 2.0, 2.5, "Calzetti", 0.8),
        (6.0, 3.0, 1.0, "Cardelli", 0.8),
        (12.0, 10.0, 0.4, None, 0.0),
    ],
)
def test_continuum_is_that_of_bagpipes(age, tau, metallicity, dust, av):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bagpipes

        redshift = 0.1
        observed = np.arange(4000.0, 9000.0, 5.0)
        history = {"age": age, "tau": tau, "massformed": 10.0, "metallicity": metallicity}
        parts = {"redshift": redshift, "delayed": history, "nebular": {"logU": -3.0}, "t_bc": 0.01}
        if dust:
            parts["dust"] = {"type": dust, "Av": av}
        theirs = 1e17 * bagpipes.model_galaxy(parts, spec_wavs=observed).spectrum[:, 1]

    basis = stellar_basis(corrected=False)
    metals = metallicity_shares(np.array([np.log10(metallicity)]), 0.0, basis.metallicity)
    ages = delayed_tau(np.array([age * 1e9]), np.array([tau * 1e9]))
    ours = (weights(np.array([1e10]), metals, ages) @ basis.luminosity)[0].astype(float)
    if dust:
        law = {"Calzetti": "calzetti00", "Cardelli": "cardelli89"}[dust]
        ours *= 10 ** (-0.4 * av * attenuation_curve(law, basis.wavelength))
    distance = luminosity_distance(PopulationConfig(), redshift)
    ours *= LUMINOSITY_TO_FLUX / distance**2 / (1 + redshift)
    ours = np.interp(observed, basis.wavelength * (1 + redshift), ours)
    rest = observed / (1 + redshift)
    for low, high in WINDOWS:
        inside = (rest > low) & (rest < high)
        assert ours[inside].mean() == pytest.approx(theirs[inside].mean(), rel=0.02), (low, high)
