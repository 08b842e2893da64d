"""Where what is computed from audio is kept."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from restem.errors import UsageError


def default_cache() -> Path:
    """Where features are kept unless told otherwise: `restem` in the user's cache folder.

    That is `$XDG_CACHE_HOME/restem` or `~/.cache/restem` on Linux, and what is usual on other systems.
    Raises UsageError where there is no home folder.
    """
    try:
        folder = user_cache_path("restem", appauthor=False)
    except RuntimeError:  # of Path.expanduser
        folder = Path()
    # Without a home, platformdirs leaves the `~` in the path.
    if not folder.is_absolute():
        raise UsageError("There is no home folder for the cache; name a folder with `cache`.")
    return folder
