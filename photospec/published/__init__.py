"""The published authors' code (arXiv:2211.05556, arXiv:2406.18175), whole and removable.

Their networks and checkpoints (``denoiser``, ``contrastive``, ``cascade``), the spectrograph made
of them (``spectrograph``), their training (``training``, ``config``), settings files (``settings``)
and data folders (``data_folder``). Nothing below names this package: it registers with the
registries of the rooms below, which import it, through the entry point ``published`` in
``pyproject.toml``, when a name is asked for that they do not know.
"""

from photospec.training.extensions import (
    CONVERTERS,
    SETTINGS_READERS,
    register_architecture,
    register_preset,
)
from photospec.utils.optional import lazy_names
from photospec.weights import register_weight_format

# Addresses, not objects: training needs packages that predicting does not.
register_weight_format("photospec-published-1", "photospec.published.spectrograph:PublishedConfig")
register_architecture(
    "published",
    config="photospec.published.config:PublishedTrainConfig",
    training="photospec.published.training:published_training",
    pack="photospec.published.training:pack_published",
)
register_preset("published", "photospec.published.config:published_preset")
SETTINGS_READERS.register("published", "photospec.published.settings:read_published")
CONVERTERS.register("published", "photospec.published.data_folder:convert_published")

_HOMES = {
    "PublishedCascade": "cascade",
    "PublishedContrastive": "contrastive",
    "PublishedDenoiser": "denoiser",
    "convert_published": "data_folder",
    "load_contrastive": "denoiser",
    "load_denoiser": "denoiser",
    "load_spectrograph": "spectrograph",
    "read_checkpoint": "checkpoint",
    "read_published": "settings",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
