"""Star-formation histories as masses formed per age bin and metallicity.

Histories are delayed exponentials (SFR ~ t exp(-t / tau), e.g. Carnall et al. 2019, ApJ 873, 44)
with bursts of constant rate laid over them.
"""

from __future__ import annotations

import numpy as np

from photospec.simulation.galaxies.basis import AGE_EDGES

__all__ = ["delayed_tau", "metallicity_shares", "tau_from_ssfr", "top_hat", "weights"]


def delayed_tau(onset, tau, edges=AGE_EDGES):
    """Return shares of the mass formed in each age bin, shape (n, n_ages).

    Parameters
    ----------
    onset : ndarray, shape (n,)
        Lookback time of the first stars, yr.
    tau : ndarray, shape (n,)
        Time scale, yr.
    edges : ndarray
        Edges of the age bins, yr.
    """
    time = np.clip(onset[:, None] - edges, 0, None) / tau[:, None]
    formed = 1 - (1 + time) * np.exp(-time)
    share = formed[:, :-1] - formed[:, 1:]
    return share / share.sum(1, keepdims=True)


def top_hat(start, end, edges=AGE_EDGES):
    """Return shares of the mass formed at a constant rate from `start` to `end` years ago."""
    covered = np.clip(start[:, None], edges[:-1], edges[1:]) - np.clip(
        end[:, None], edges[:-1], edges[1:]
    )
    return covered / covered.sum(1, keepdims=True)


_RATIO = np.geomspace(0.03, 30.0, 600)  # onset over tau
_SSFR = np.log10(_RATIO**2 * np.exp(-_RATIO) / (1 - (1 + _RATIO) * np.exp(-_RATIO)))


def tau_from_ssfr(onset, log_ssfr):
    """Return the tau (yr) whose present rate over mass formed is `log_ssfr` (log10 of 1/yr).

    A delayed exponential has onset * SSFR = x^2 exp(-x) / (1 - (1 + x) exp(-x)) with x = onset/tau,
    at most 2; higher rates need bursts and get the largest tau of the table.
    """
    wanted = log_ssfr + np.log10(onset)
    return onset / np.interp(-wanted, -_SSFR, _RATIO)


def metallicity_shares(mean, spread, nodes):
    """Return shares over the metallicity nodes, shape (n, n_metallicities).

    Three points of a Gauss-Hermite rule stand for a normal distribution in log Z of the given mean
    and standard deviation (dex); each is shared linearly between its two nodes.
    """
    out = np.zeros((len(mean), len(nodes)))
    row = np.arange(len(mean))
    for offset, share in ((-np.sqrt(3), 1 / 6), (0.0, 2 / 3), (np.sqrt(3), 1 / 6)):
        value = np.clip(mean + offset * spread, nodes[0], nodes[-1])
        i = np.clip(np.searchsorted(nodes, value) - 1, 0, len(nodes) - 2)
        f = (value - nodes[i]) / (nodes[i + 1] - nodes[i])
        np.add.at(out, (row, i), share * (1 - f))
        np.add.at(out, (row, i + 1), share * f)
    return out


def weights(mass, metals, ages):
    """Return mass formed per basis row, (n, n_basis): metals (n, n_m) times ages (n, n_a)."""
    out = metals[:, :, None] * ages[:, None, :] * mass[:, None, None]
    return out.reshape(len(mass), -1).astype(np.float32)
