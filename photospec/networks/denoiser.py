r"""Denoisers: from a network's answer to the posterior mean of the clean spectrum.

Every parametrisation is a line in :math:`x_t`,

.. math:: \hat x_0 = c_\mathrm{skip} x_t + c_\mathrm{out} F(c_\mathrm{in} x_t, c, y),

with the network F, its noise level c and its condition y; F is trained towards
:math:`a x_0 + b \epsilon`:

=======  ===========================  ============================  ==================  ===============================
name     c_skip                       c_out                         c_in                target of F
=======  ===========================  ============================  ==================  ===============================
epsilon  1 / alpha                    -sigma / alpha                1                   noise
v        alpha / (alpha^2 + sigma^2)  -sigma / (alpha^2 + sigma^2)  1                   alpha noise - sigma x_0
edm      sigma_data^2 alpha / s^2     sigma sigma_data / s          1 / s               (sigma x_0 / sigma_data - alpha sigma_data noise) / s
=======  ===========================  ============================  ==================  ===============================

where s^2 = sigma^2 + alpha^2 sigma_data^2. "edm" is Karras et al. 2022 (arXiv:2206.00364,
table 1) with x_t / alpha and sigma / alpha in place of their x and sigma, so that it
serves every schedule; "v" and "edm" stay finite where alpha vanishes, "epsilon" (Ho et
al. 2020, arXiv:2006.11239) is kept finite by the cut of the schedule and by ``clip``. "v" is Salimans & Ho 2022
(arXiv:2202.00512, sect. 4).
"""  # noqa: E501

import contextlib

import torch
from torch import nn

__all__ = ["PARAMETRISATIONS", "Denoiser", "GuidedDenoiser"]


def _epsilon(alpha, sigma, sigma_data):
    one = torch.ones_like(alpha)
    return 1 / alpha, -sigma / alpha, one, torch.zeros_like(alpha), one


def _v(alpha, sigma, sigma_data):
    power = alpha**2 + sigma**2
    return alpha / power, -sigma / power, torch.ones_like(alpha), -sigma, alpha


def _edm(alpha, sigma, sigma_data):
    scale = (sigma**2 + (alpha * sigma_data) ** 2).sqrt()
    return (
        alpha * (sigma_data / scale) ** 2,
        sigma * sigma_data / scale,
        1 / scale,
        sigma / (sigma_data * scale),
        -alpha * sigma_data / scale,
    )


#: By name, functions of (alpha, sigma, sigma_data) that return c_skip, c_out, c_in, a and b.
PARAMETRISATIONS = {"epsilon": _epsilon, "v": _v, "edm": _edm}


def _like(value, x):
    """Return `value` on the device and in the type of `x`, with trailing axes to multiply it."""
    value = value.to(x.device, x.dtype)
    return value.reshape(value.shape + (1,) * (x.ndim - value.ndim))


class Denoiser(nn.Module):
    """The posterior mean E[x_0 | x_t] from a network, a schedule and a parametrisation.

    Parameters
    ----------
    network : callable
        ``network(x, noise_level, condition)`` with x (n, ...) and noise_level (n,), see
        `Schedule.noise_level`; answers with the shape of x.
    schedule : Schedule
    parametrisation : {"epsilon", "v", "edm"}
    sigma_data : float
        Standard deviation of the clean data; used by "edm" only.
    clip : (float, float), optional
        Bounds of the clean data; the estimate is cut to them.
    autocast : torch.dtype, optional
        Run the network in this type, such as ``torch.bfloat16``; all else stays as it is.
    """

    evaluations = 1  # network evaluations per call

    def __init__(
        self, network, schedule, parametrisation="edm", *, sigma_data=1.0, clip=None, autocast=None
    ):
        super().__init__()
        if parametrisation not in PARAMETRISATIONS:
            names = ", ".join(PARAMETRISATIONS)
            raise ValueError(f"parametrisation: expected one of {names}, got {parametrisation!r}")
        self.network = network
        self.schedule = schedule
        self.parametrisation = parametrisation
        self.sigma_data = sigma_data
        self.clip = clip
        self.autocast = autocast

    def forward(self, x_t, t, condition=None):
        """Estimate the clean spectra.

        Parameters
        ----------
        x_t : Tensor (n, ...)
            Noisy spectra; half-precision input is computed in float32.
        t : float or Tensor (n,)
            Times in [0, 1]; `Schedule.time` turns a log-SNR into one.
        condition
            Handed to the network as it is.

        Returns
        -------
        Tensor (n, ...)
            E[x_0 | x_t], float32 at least.
        """
        t = self._expand(t, x_t)
        x_t = x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        c_skip, c_out, c_in = (_like(c, x_t) for c in self._coefficients(t)[:3])
        x_0 = c_skip * x_t + c_out * self._answer(c_in * x_t, t, condition)
        return x_0 if self.clip is None else x_0.clamp(*self.clip)

    def loss(self, x_0, t, noise, condition=None, weight=None):
        """Return the mean square error of the network's answer for each example, (n,).

        The parametrisation decides the weight of each noise level: the answer's target has
        unit variance in "edm" and, for unit data, in "v". ``weight`` (n, ...) counts samples
        of the spectra differently; its mean over all examples is taken out.
        """
        t = self._expand(t, x_0)
        alpha, sigma = _like(self.schedule.alpha(t), x_0), _like(self.schedule.sigma(t), x_0)
        _, _, c_in, of_data, of_noise = (_like(c, x_0) for c in self._coefficients(t))
        answer = self._answer(c_in * (alpha * x_0 + sigma * noise), t, condition)
        error = answer - (of_data * x_0 + of_noise * noise)
        if weight is None:
            return error.square().flatten(1).mean(1)
        mean = weight.mean().clamp_min(torch.finfo(weight.dtype).tiny)
        return (weight * error.square()).flatten(1).mean(1) / mean

    @staticmethod
    def _expand(t, x):
        t = torch.as_tensor(t, dtype=torch.float64)
        return t.reshape(1) if t.ndim == 0 else t

    def _coefficients(self, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return PARAMETRISATIONS[self.parametrisation](alpha, sigma, self.sigma_data)

    def _answer(self, x, t, condition):
        # One level for all stays one number in memory, which networks may make use of.
        level = self.schedule.noise_level(t).to(x.device, x.dtype).expand(x.shape[0])
        context = contextlib.nullcontext()
        if self.autocast is not None:
            context = torch.autocast(x.device.type, dtype=self.autocast)
        with context:
            answer = self.network(x, level, condition)
        return answer.to(x.dtype)


class GuidedDenoiser(nn.Module):
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) around a denoiser.

    The estimate moves from the one without a condition through the one with it:
    ``scale`` 0 ignores the condition, 1 is the plain denoiser, more exaggerates it.

    Parameters
    ----------
    denoiser : Denoiser
    null_condition
        What the network was given in place of the dropped conditions in training.
    scale : float
    """

    def __init__(self, denoiser, null_condition=None, scale=1.0):
        super().__init__()
        self.denoiser = denoiser
        self.null_condition = null_condition
        self.scale = scale

    @property
    def schedule(self):
        """Schedule of the denoiser inside."""
        return self.denoiser.schedule

    @property
    def evaluations(self):
        """Network evaluations per call."""
        return self.denoiser.evaluations * (1 if self.scale in (0.0, 1.0) else 2)

    def forward(self, x_t, t, condition=None):
        """Evaluate as `Denoiser.forward` does."""
        if self.scale == 1.0:
            return self.denoiser(x_t, t, condition)
        without = self.denoiser(x_t, t, self.null_condition)
        if self.scale == 0.0:
            return without
        return without + self.scale * (self.denoiser(x_t, t, condition) - without)
