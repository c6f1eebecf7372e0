"""Networks of the spectrograph: tensors in, tensors out (torch only).

The grammar is schedule <- denoiser <- sampler; a `Cascade` joins two denoisers
(base and super-resolution stage) and a contrastive network that ranks.
"""

from photospec.networks.samplers import Sampler, make_sampler, register_sampler

__all__ = ["Sampler", "make_sampler", "register_sampler"]
