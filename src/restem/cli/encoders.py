"""The commands about pretrained encoders: `restem encoders` and `restem encoders add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from restem.cli.shared import say, terminal

app = App(name="encoders")


@app.default
def show() -> None:
    """List the pretrained audio encoders: which there are, which are installed, and what each hears.

    An encoder is a network that was trained on much more sound than a dataset holds. None is part of restem.

    Example: `restem encoders`, then `restem encoders add musicnn`
    """
    from restem.cli.terminal import print_encoders
    from restem.labelling.encoders.registry import KNOWN, encoders_folder, installed

    print_encoders(KNOWN, installed(), encoders_folder(), terminal())


@app.command
def add(
    what: Annotated[str, Parameter(name="NAME|PATH", help="musicnn, for example, or a .tflite or .onnx file.")],
    /,
    *,
    card: Annotated[
        Path | None, Parameter(help="The card of a file, YAML or JSON; by default the one beside it of the same name.")
    ] = None,
    wheel: Annotated[Path | None, Parameter(help="For musicnn without network: its wheel, musicnn 0.1.0.")] = None,
) -> None:
    """Install a pretrained encoder in your data folder.

    The weights of musicnn are downloaded through pip, and checked. Of a file that you bring, a card says what it takes
    and which of its tensors is the embedding.

    Example: `restem encoders add musicnn`
    """
    from restem.labelling.encoders.adding import LICENCE_FILE, add_encoder
    from restem.labelling.encoders.registry import encoders_folder
    from restem.wording import printable

    encoder = add_encoder(what, card=card, wheel=wheel)
    place = encoders_folder() / encoder.name
    say(f"{encoder.name} is in {place}.")
    text = f", in {LICENCE_FILE} there" if (place / LICENCE_FILE).is_file() else ""
    say(f"Licence of the weights: {printable(encoder.licence)}{text}.")
    if encoder.training_audio:
        say(f"Trained on {printable(encoder.training_audio)}.")
