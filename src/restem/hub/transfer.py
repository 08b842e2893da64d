"""Sends separators, classifiers and runs to the Hugging Face hub, and takes them from there.

Whoever can write to a repository can put anything there, so nothing that is taken is trusted: only files of known
names and sizes are asked for, all of one commit; weights are safetensors, which hold numbers only; configurations and
tables are checked as all others are; and nothing is executed. Access is through the token that `hf auth login` keeps.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from restem.addresses import as_path
from restem.errors import RestemError, UsageError
from restem.files import folder_written_aside
from restem.hub.card import card_of
from restem.hub.contents import RUN, Kind, kind_of, wanted
from restem.runs.run import opened_run
from restem.wording import extra_command

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD_FILE = "README.md"

_DATASETS = "datasets/"


@dataclass(frozen=True)
class Sent:
    """What was sent. repo: as `pull` takes it. address: of its page. commit: its hash."""

    repo: str
    address: str
    kind: str
    files: tuple[str, ...]
    commit: str


@dataclass(frozen=True)
class Taken:
    """What was taken. ignored: the other files of the repository."""

    path: Path
    kind: str
    files: tuple[str, ...]
    ignored: tuple[str, ...]
    commit: str


def push(
    path: Path | str,
    repo: str,
    *,
    public: bool = False,
    licence: str = "",
    evaluation: Path | str | None = None,
    endpoint: str | None = None,
) -> Sent:
    """Sends a separator, a classifier or a run to the Hugging Face hub, with a card.

    No audio is sent, and of paths only the name of the dataset's folder and those of songs and stems below it, in runs.

    Parameters
    ----------
    path
        The folder of a separator, of a classifier (`classifier` in a run), or of a run.
    repo
        `name/repository`; it is made if it is missing. A run becomes a dataset repository.
    public
        Let everybody see it; by default the repository is private.
    licence
        The licence of the audio, for the card; by default what is kept with the folder.
    evaluation
        The result of `evaluate`, whose SDR goes into the card.
    endpoint
        The address of another hub.

    Returns
    -------
    Sent
        The address and the files.

    Raises
    ------
    RestemError
        When the folder cannot be used, the extra `hub` is not installed, or the hub refuses.
    UsageError
        For a name that no repository can have, or a public repository without `public`.
    """
    path = as_path(path)
    kind = kind_of(path)
    kind.check(path) if kind is not RUN else opened_run(path)
    repo = repo.removeprefix(_DATASETS)
    repo_type = _type_of(kind)
    named = f"{_DATASETS}{repo}" if kind is RUN else repo
    card = card_of(kind.name, path, named, licence, None if evaluation is None else as_path(evaluation))
    with _answers(repo, endpoint) as api:
        from huggingface_hub import CommitOperationAdd

        place = api.create_repo(repo, private=not public, repo_type=repo_type, exist_ok=True)
        if not public and not api.repo_info(repo, repo_type=repo_type).private:
            raise UsageError(f"{place}: is public; send to it with `public=True`, or to another repository.")
        files = {CARD_FILE: card.encode(), **kind.read(path)}
        commit = api.create_commit(
            repo,
            [
                CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
                for name, content in files.items()
            ],
            commit_message=f"A {kind.name} of restem",
            repo_type=repo_type,
        )
    return Sent(named, str(place), kind.name, tuple(files), commit.oid)


def pull(repo: str, out: Path | str, *, revision: str | None = None, endpoint: str | None = None) -> Taken:
    """Takes a separator, a classifier or a run from the Hugging Face hub.

    Only files of restem are taken, and checked; nothing of them is executed.

    Parameters
    ----------
    repo
        `name/repository`, or `datasets/name/repository` for a run.
    out
        A new folder; it appears when it is complete. A run is used with `--dataset`, the place of its audio here.
    revision
        A branch, tag or commit.
    endpoint
        The address of another hub.

    Returns
    -------
    Taken
        What it is, its files, and what else the repository holds.

    Raises
    ------
    RestemError
        When there is no such repository, it holds nothing of restem, what it holds is damaged or too large, `out` is
        not empty, or the extra `hub` is not installed.
    """
    out = as_path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RestemError(f"{out}: is there already; choose another folder.")
    repo_type = "dataset" if repo.startswith(_DATASETS) else "model"
    name = repo.removeprefix(_DATASETS)
    with _answers(name, endpoint) as api:
        look = api.dataset_info if repo_type == "dataset" else api.model_info
        info = look(name, revision=revision, files_metadata=True)
        commit = str(info.sha)
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        files = wanted(sizes, repo)
        for file, most in files.items():
            size = sizes[file]
            if size is None or size > most:
                raise RestemError(f"{repo}: {file} is too large ({size:,} bytes); nothing was taken.")
        with folder_written_aside(out) as aside, tempfile.TemporaryDirectory(dir=out.parent) as cache:
            for file in files:
                there = api.hf_hub_download(name, file, revision=commit, repo_type=repo_type, cache_dir=cache)
                (aside / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(there, aside / file)
            kind = kind_of(aside)
            try:
                kind.check(aside)
            except RestemError as error:
                reason = str(error).replace(f"{aside}{os.sep}", "").replace(f"{aside}: ", "")
                raise RestemError(f"{repo}: {reason}") from error
    ignored = sorted(set(sizes).difference(files, {CARD_FILE, ".gitattributes"}))
    return Taken(out, kind.name, tuple(files), tuple(ignored), commit)


def _type_of(kind: Kind) -> str:
    """The kind of repository."""
    return "dataset" if kind is RUN else "model"


@contextmanager
def _answers(repo: str, endpoint: str | None) -> Iterator[HfApi]:
    """The hub's client; its errors, and those of the network under it, as RestemError with what to do."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
    except ImportError as error:
        raise RestemError(f"The hub needs a package that is not installed: {extra_command('hub')}.") from error
    api = HfApi(endpoint=endpoint)
    try:
        yield api
    except (RestemError, FileExistsError):
        raise
    except HFValidationError as error:
        raise UsageError(f"{repo!r} is no name of a repository; write it as name/repository.") from error
    except RepositoryNotFoundError as error:
        raise RestemError(
            f"{api.endpoint}: there is no repository {repo} that you can see; `hf auth login` opens private ones, and "
            "runs are at datasets/name/repository."
        ) from error
    except HfHubHTTPError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise RestemError(f"{api.endpoint}: refuses {repo}: {reason} (`hf auth login` says who you are)") from error
    except Exception as error:
        # The client's HTTP library has errors of its own, another one in each of its versions.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "requests", "huggingface_hub"):
            raise
        raise RestemError(f"{api.endpoint}: does not answer ({type(error).__name__}: {error}).") from error
