"""Where the pretrained models of the package `demucs` lie on this machine. Nothing is downloaded.

The package keeps a list of its models, each a bag of one or more networks (`demucs/remote/*.yaml`). Their files are in
torch's cache of checkpoints (`<signature>-<hash>.th`) or, since version 4.1, in the cache of the Hugging Face hub
(`<signature>.safetensors`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from restem.errors import RestemError
from restem.plain_yaml import parse_yaml

_HUB_OWNER = "adefossez"


def is_demucs_model(name: str) -> bool:
    """Whether the installed package `demucs` has a pretrained model of this name."""
    return _bag_file(name) is not None


def model_files(name: str) -> tuple[list[Path], list[list[float]] | None]:
    """The files of the networks of a model, and how much each counts for each source (None: all the same).

    Raises RestemError when one is not in the cache.
    """
    bag = _bag_file(name)
    if bag is None:
        raise RestemError(f"demucs has no model {name!r}.")
    content = parse_yaml(bag.read_text(encoding="utf-8"))
    files = []
    for signature in content["models"]:
        found = _in_torch_cache(signature) or _in_hub_cache(name, signature)
        if found is None:
            raise RestemError(
                f"{name}: its weights are not in the cache of demucs ({_torch_cache()}); "
                f"`demucs -n {name} song.mp3` downloads them."
            )
        files.append(found)
    return files, content.get("weights")


def _bag_file(name: str) -> Path | None:
    spec = find_spec("demucs") if name.replace("_", "").isalnum() else None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "remote" / f"{name}.yaml"
    return path if path.is_file() else None


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _in_torch_cache(signature: str) -> Path | None:
    return next(iter(sorted(_torch_cache().glob(f"{signature}-*.th"))), None)


def _in_hub_cache(name: str, signature: str) -> Path | None:
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    known = {"htdemucs": "HTDemucs"}
    repository = known.get(name) or (
        f"HTDemucs-{name.removeprefix('htdemucs_')}" if name.startswith("htdemucs_") else f"Demucs-{name}"
    )
    found = try_to_load_from_cache(f"{_HUB_OWNER}/{repository}", f"{signature}.safetensors")
    return Path(found) if isinstance(found, str) else None
