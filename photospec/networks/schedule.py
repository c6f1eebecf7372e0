r"""Noise schedules: how much data and how much noise at each time.

A diffusion process mixes a clean spectrum :math:`x_0` with Gaussian noise,

.. math:: x_t = \alpha_t x_0 + \sigma_t \epsilon, \qquad t \in [0, 1],

from almost clean (t = 0) to almost pure noise (t = 1). Only the ratio matters, so every
schedule here is one function, :math:`\log \mathrm{SNR}(t) = \log(\alpha_t^2 / \sigma_t^2)`,
strictly decreasing, with its inverse. It diverges at both ends of the cosine schedule; it
is cut at ``log_snr_min`` and ``log_snr_max``, beyond which nothing can be learnt in
single precision. Schedules compute in double precision, whatever they are given.

References: Nichol & Dhariwal 2021 (arXiv:2102.09672, eq. 17), Kingma et al. 2021
(arXiv:2107.00630, sect. 3.1), Karras et al. 2022 (arXiv:2206.00364, eq. 5 and table 1).
"""

import math
from abc import ABC, abstractmethod

import torch

__all__ = ["CosineSchedule", "EDMSchedule", "LinearSchedule", "Schedule"]


class Schedule(ABC):
    """A variance-preserving noise schedule; subclasses give `_log_snr` and `_time`.

    Parameters
    ----------
    log_snr_min, log_snr_max : float
        Where the logarithmic signal-to-noise ratio is cut (natural logarithm).
    """

    def __init__(self, log_snr_min=-15.0, log_snr_max=15.0):
        self.log_snr_min = log_snr_min
        self.log_snr_max = log_snr_max

    def log_snr(self, t):
        """Return log(alpha_t^2 / sigma_t^2), float64, of the shape of `t`."""
        t = torch.as_tensor(t, dtype=torch.float64)
        return self._log_snr(t).clamp(self.log_snr_min, self.log_snr_max)

    def time(self, log_snr):
        """Return the time at which the schedule passes `log_snr`; the inverse of `log_snr`."""
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        return self._time(log_snr.clamp(self.log_snr_min, self.log_snr_max)).clamp(0.0, 1.0)

    def alpha(self, t):
        """Return the amplitude of the data at time `t`, float64."""
        return torch.sigmoid(self.log_snr(t)).sqrt()

    def sigma(self, t):
        """Return the standard deviation of the noise at time `t`, float64."""
        return torch.sigmoid(-self.log_snr(t)).sqrt()

    def noise_level(self, t):
        """Return the noise level as the networks take it: log(sigma_t / alpha_t) / 4.

        It is of order one and the same for all schedules (c_noise of Karras et al. 2022).
        """
        return -self.log_snr(t) / 8.0

    def times(self, n_steps):
        """Return the `n_steps` decreasing times at which a sampler evaluates its network, float64.

        The last step leads from the last of them to the clean spectrum.
        """
        return self.time(self.log_snr_min) * (1.0 - torch.arange(n_steps).double() / n_steps)

    def karras_times(self, n_steps, sigma_min=0.01, sigma_max=20.0, rho=20.0):
        """Return the times spaced as in Karras et al. 2022, eq. 5, in sigma / alpha; for few steps.

        Parameters
        ----------
        n_steps : int
        sigma_min, sigma_max : float
            First and last sigma / alpha, in units of the data.
        rho : float
            The larger, the nearer to steps of equal log-SNR. For data whose principal
            components vary by factors of a hundred, 20 and DPM-Solver++ need half the steps
            of the 7 that the paper chose for pictures and Heun's method.

        Returns
        -------
        Tensor (n_steps,)
            Decreasing times, float64.
        """
        low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
        sigma = torch.linspace(high, low, n_steps, dtype=torch.float64) ** rho
        return self.time(-2 * sigma.log())

    def draw_times(self, n, generator=None):
        """Return times for `n` training examples, (n,) float64: stratified and uniform."""
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        return torch.remainder(torch.arange(n).double() / n + offset, 1.0)

    @abstractmethod
    def _log_snr(self, t):
        """Return log-SNR at times, before it is cut."""

    @abstractmethod
    def _time(self, log_snr):
        """Return the inverse of `_log_snr`."""


class CosineSchedule(Schedule):
    """alpha_t^2 = cos^2(u(t)) / cos^2(u(0)) with u linear in t and u(1) = pi / 2.

    The continuous form of Nichol & Dhariwal 2021, eq. 17; ``offset`` is their s.
    """

    def __init__(self, offset=0.008, log_snr_min=-15.0, log_snr_max=15.0):
        super().__init__(log_snr_min, log_snr_max)
        self._start = math.pi / 2 * offset / (1 + offset)

    def _log_snr(self, t):
        start, u = self._start, self._start + (math.pi / 2 - self._start) * t
        # sigma_t^2 cos^2(start) = cos^2(start) - cos^2(u), written without the cancellation
        noise = torch.sin(u - start) * torch.sin(u + start)
        return 2 * torch.log(torch.cos(u).clamp_min(0)) - torch.log(noise)

    def _time(self, log_snr):
        cosine2 = math.cos(self._start) ** 2
        sine = (math.sin(self._start) ** 2 + torch.sigmoid(-log_snr) * cosine2).sqrt()
        u = torch.atan2(sine, (torch.sigmoid(log_snr) * cosine2).sqrt())
        return (u - self._start) / (math.pi / 2 - self._start)


class LinearSchedule(Schedule):
    """Linear betas (Ho et al. 2020), exact at t = 1/T, 2/T, ... 1 and smooth between them.

    ``log(alpha_t^2)`` runs straight from 0 at t = 0 through the discrete products of
    ``1 - beta``. The defaults are those of the published method.
    """

    def __init__(
        self, n_times=250, beta_min=1e-2, beta_max=0.2, log_snr_min=-15.0, log_snr_max=15.0
    ):
        super().__init__(log_snr_min, log_snr_max)
        betas = torch.linspace(beta_min, beta_max, n_times, dtype=torch.float64)
        self._log_alpha2 = torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    def _log_snr(self, t):
        table = self._log_alpha2.to(t.device)
        position = t * (len(table) - 1)
        left = position.floor().long().clamp(0, len(table) - 2)
        log_alpha2 = table[left] + (position - left) * (table[left + 1] - table[left])
        return log_alpha2 - torch.log(-torch.expm1(log_alpha2))

    def _time(self, log_snr):
        table = self._log_alpha2.to(log_snr.device)
        log_alpha2 = torch.nn.functional.logsigmoid(log_snr)
        left = torch.searchsorted(-table, -log_alpha2).clamp(1, len(table) - 1) - 1
        step = (log_alpha2 - table[left]) / (table[left + 1] - table[left])
        return (left + step) / (len(table) - 1)


class EDMSchedule(Schedule):
    """Variance-exploding noise levels of Karras et al. 2022: alpha = 1, eq. 5 for sigma.

    sigma^(1/rho) is linear in t from ``sigma_min`` to ``sigma_max``; data are expected to
    have unit standard deviation, or ``sigma_data`` as told to the denoiser.
    """

    def __init__(self, sigma_min=0.002, sigma_max=80.0, rho=7.0):
        super().__init__(-2 * math.log(sigma_max), -2 * math.log(sigma_min))
        self.rho = rho
        self._low, self._high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)

    def alpha(self, t):
        """Return ones: the noise is added to data of unchanged amplitude."""
        return torch.ones_like(torch.as_tensor(t, dtype=torch.float64))

    def sigma(self, t):
        """Return the standard deviation of the noise at time `t`, float64."""
        return torch.exp(-self.log_snr(t) / 2)

    def times(self, n_steps):
        """Return times from ``sigma_max`` to ``sigma_min``, both included (eq. 5)."""
        return torch.linspace(1.0, 0.0, n_steps, dtype=torch.float64)

    def draw_times(self, n, generator=None, mean=-1.2, std=1.2):
        """Return times of log-normal sigma for `n` training examples, (n,) float64 (table 1)."""
        log_sigma = mean + std * torch.randn(n, generator=generator, dtype=torch.float64)
        return self.time(-2 * log_sigma)

    def _log_snr(self, t):
        return -2 * self.rho * torch.log(self._low + t * (self._high - self._low))

    def _time(self, log_snr):
        return (torch.exp(-log_snr / (2 * self.rho)) - self._low) / (self._high - self._low)
