"""The commands that pass on what was made: `restem export-model`, `push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from restem.cli.defaults import defaults_of
from restem.cli.options import Licence
from restem.cli.shared import complain, say
from restem.wording import counted

_EXPORT = defaults_of("restem.separation.exporting", "export_model")
_PUSH = defaults_of("restem.hub.transfer", "push")
_PULL = defaults_of("restem.hub.transfer", "pull")

Endpoint = Annotated[str | None, Parameter(help="The address of another hub.")]


def export_model(
    separator: Annotated[Path, Parameter(help="The folder of a separator.")],
    out: Annotated[Path, Parameter(help="A new folder for the network and interface.json.")],
    /,
    *,
    format: Annotated[Literal["onnx", "torchscript"], Parameter(help="ONNX, or TorchScript for libtorch.")] = _EXPORT[
        "format"
    ],
) -> None:
    """Export a separator for programs without restem: the network without its STFT, and how to call it.

    Example: `restem export-model separator exported --format onnx`
    """
    from restem.separation.exporting import INTERFACE_FILE, MODEL_FILES
    from restem.separation.exporting import export_model as export

    interface = export(separator, out, format=format)
    shapes = [f"{name} {'x'.join(map(str, shape))}" for name, shape in interface.inputs.items()]
    results = [f"{name} {'x'.join(map(str, shape))}" for name, shape in interface.outputs.items()]
    say(f"{out / MODEL_FILES[format]}: takes {' and '.join(shapes)}, gives {' and '.join(results)}.")
    say(f"{out / INTERFACE_FILE} says how to get there from {interface.samples:,} samples of sound, and back.")


def push(
    path: Annotated[Path, Parameter(help="The folder of a separator, a classifier or a run.")],
    repo: Annotated[str, Parameter(help="name/repository on the hub; made if it is missing.")],
    /,
    *,
    public: Annotated[bool, Parameter(negative="", help="Let everybody see it.")] = _PUSH["public"],
    licence: Licence = _PUSH["licence"],
    evaluation: Annotated[
        Path | None, Parameter(help="What `restem evaluate --out` left: its SDR goes into the card.")
    ] = None,
    endpoint: Endpoint = None,
) -> None:
    """Send a separator, a classifier or a run to the Hugging Face hub, with a card. Private, unless --public.

    Example: `restem push separator me/my-separator --evaluation result`
    """
    from restem.hub.transfer import push as send

    sent = send(path, repo, public=public, licence=licence, evaluation=evaluation, endpoint=endpoint)
    say(f"The {sent.kind} is at {sent.address}, {'public' if public else 'private'}: {', '.join(sent.files)}.")
    say(f"Take it with `restem pull {sent.repo} {sent.kind}`.")


def pull(
    repo: Annotated[str, Parameter(help="name/repository, or datasets/name/repository for a run.")],
    out: Annotated[Path, Parameter(help="A new folder.")],
    /,
    *,
    revision: Annotated[str | None, Parameter(help="A branch, tag or commit.")] = None,
    endpoint: Endpoint = None,
) -> None:
    """Take a separator, a classifier or a run from the Hugging Face hub. Only restem's files are taken, and checked.

    Example: `restem pull me/my-separator separator`
    """
    from restem.hub.transfer import pull as take

    taken = take(repo, out, revision=revision, endpoint=endpoint)
    say(f"The {taken.kind} is in {taken.path} (commit {taken.commit[:12]}).")
    if taken.kind == "run":
        say("Name the place of its audio with --dataset, as in `restem train`.")
    if taken.ignored:
        complain(f"{counted(len(taken.ignored), 'other file')} there were not taken, among them {taken.ignored[0]}.")
