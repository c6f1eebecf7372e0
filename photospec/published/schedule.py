r"""The discrete schedules of the published method and its ancestral sampler.

A checkpoint stores ``betas``, ``alphas = 1 - betas`` and ``cumalphas``. Training noises
with :math:`x_k = \sqrt{\bar\alpha_k} x_0 + \sqrt{1 - \bar\alpha_k} \epsilon`. In the
linear schedule :math:`\bar\alpha_k` is the product of the alphas up to and including k. In
the cosine schedule it is the *un-normalised* cosine at k / T, one step less noise than
that product, which belongs to (k + 1) / T: the backward process is one step off the
forward one. Both are kept as they are; weights were trained and sampled with them.
"""

import math

import torch
from torch import nn

from photospec.networks.samplers import draw_noise
from photospec.networks.schedule import Schedule

__all__ = [
    "PublishedSampler",
    "PublishedSchedule",
    "ScheduleBuffers",
    "cosine_buffers",
    "linear_buffers",
]


_OFFSET = 0.008  # of Nichol & Dhariwal (2021, arXiv:2102.09672), equation 17


def linear_buffers(n_times=250):
    """Return betas, alphas and cumalphas of the linear schedule, each (n_times,) float32."""
    betas = torch.linspace(1e-2, 0.2, n_times)
    return betas, 1 - betas, torch.cumprod(1 - betas, dim=0)


def cosine_buffers(n_times=250):
    """Return betas, alphas and cumalphas of the cosine schedule, each (n_times,) float32."""
    time = torch.arange(n_times + 1, dtype=torch.float64) / n_times
    power = torch.cos((time + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
    betas = (1 - power[1:] / power[:-1]).clamp_max(0.999).float()
    return betas, 1 - betas, power[:-1].float()


SCHEDULES = {"cosine": cosine_buffers, "linear": linear_buffers}


class ScheduleBuffers(nn.Module):
    """The three buffers under their published names."""

    def __init__(self, schedule="cosine", n_times=250):
        super().__init__()
        names = ("betas", "alphas", "cumalphas")
        for name, values in zip(names, SCHEDULES[schedule](n_times), strict=True):
            self.register_buffer(name, values)


class PublishedSchedule(Schedule):
    """Stored ``cumalphas`` as a continuous schedule, so that any sampler takes these weights.

    log-SNR is linear in time between the discrete times k, at t = k / (T - 1); the network
    gets k, with a fraction when a sampler stops between.

    Parameters
    ----------
    cumalphas : Tensor (n_times,)
    """

    def __init__(self, cumalphas):
        cumalphas = cumalphas.detach().double().cpu()
        self._table = torch.log(cumalphas) - torch.log1p(-cumalphas)
        super().__init__(self._table[-1].item(), self._table[0].item())

    def noise_level(self, t):
        """Return the discrete time k, which is what the published network gets."""
        return torch.as_tensor(t, dtype=torch.float64) * (len(self._table) - 1)

    def times(self, n_steps):
        """Return times evenly spaced in k, from the last time to the first, as `n_steps` allow."""
        return torch.linspace(1.0, 0.0, n_steps, dtype=torch.float64)

    def _log_snr(self, t):
        position = t * (len(self._table) - 1)
        left = position.floor().long().clamp(0, len(self._table) - 2)
        table = self._table.to(t.device)
        return table[left] + (position - left) * (table[left + 1] - table[left])

    def _time(self, log_snr):
        table = self._table.to(log_snr.device)
        right = torch.searchsorted(-table, -log_snr).clamp(1, len(table) - 1)
        step = (log_snr - table[right - 1]) / (table[right] - table[right - 1])
        return (right - 1 + step) / (len(table) - 1)


class PublishedSampler:
    """Ancestral sampling over all discrete times with the variances beta.

    Ho et al. 2020 (arXiv:2006.11239), algorithm 2, with the stored buffers.

    Parameters
    ----------
    predict_noise : callable
        ``predict_noise(x_k, k)`` with x_k (n, 1, length) and k (n,).
    buffers : ScheduleBuffers
    """

    def __init__(self, predict_noise, buffers):
        self.predict_noise = predict_noise
        self.buffers = buffers

    @property
    def n_steps(self):
        """Number of steps, one for each discrete time."""
        return len(self.buffers.betas)

    @property
    def nfe(self):
        """Network evaluations per spectrum."""
        return self.n_steps

    @torch.no_grad()
    def sample(self, noise, generator=None, n_steps=None):
        """Turn noise (n, 1, length) into spectra.

        Parameters
        ----------
        noise : Tensor (n, 1, length)
        generator : torch.Generator or sequence of n of them, optional
            Source of the noise of the steps; see `draw_noise`.
        n_steps : int, optional
            Walk only the first steps, to time them.
        """
        x = noise
        for k in range(self.n_steps - 1, self.n_steps - 1 - (n_steps or self.n_steps), -1):
            x = self.step(x, k, generator)
        return x

    def step(self, x, k, generator=None):
        """Take the step from the discrete time k to k - 1, or to the clean spectrum at k = 0."""
        beta, alpha, cumalpha = (
            getattr(self.buffers, name)[k].item() for name in ("betas", "alphas", "cumalphas")
        )
        noise = self.predict_noise(x, torch.full((len(x),), float(k), device=x.device))
        mean = (x - beta / math.sqrt(1 - cumalpha) * noise) / math.sqrt(alpha)
        if k == 0:
            return mean
        single = generator is None or isinstance(generator, torch.Generator)
        fresh = draw_noise(x.shape if single else x.shape[1:], generator)
        return mean + math.sqrt(beta) * fresh.to(x.device, x.dtype)
