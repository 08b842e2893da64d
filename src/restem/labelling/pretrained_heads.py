"""The heads that an encoder needs before it can say anything: fitted to generated songs, for the classes these have.

Those for musicnn come with restem; for any other encoder they are made once (`restem.pretraining.heads`) and are kept
beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restem.errors import RestemError
from restem.labelling.encoders.interface import EncoderCard
from restem.labelling.heads import Heads, load_heads

SHIPPED_FOLDER = Path(__file__).parent / "pretrained_head_weights"
HEADS_FILE = "heads.safetensors"
"""The heads that were made for an encoder, in its folder."""


@dataclass(frozen=True, eq=False)
class EncoderWithHeads:
    """An installed encoder, and what is needed to make use of it.

    card: what it is. heads: those that were fitted to generated songs. folder: where encoders are installed.
    """

    card: EncoderCard
    heads: Heads
    folder: Path

    @property
    def identity(self) -> dict[str, str]:
        """All that a result depends on: which encoder, and which heads."""
        return {"name": self.card.name, "weights": self.card.sha256, "heads": self.heads.digest}


def find_heads(card: EncoderCard, folder: Path) -> Heads | None:
    """The heads for an encoder: those that come with restem, or that were made for it; None where there are none.

    folder: where encoders are installed. Heads for other weights of the same name do not count, nor damaged ones.
    """
    shipped = SHIPPED_FOLDER / f"{card.name}.safetensors"
    # The weights of these are pinned by their wheel, however they are written.
    if card.kind.startswith("musicnn") and shipped.is_file():
        return load_heads(shipped)
    made = folder / card.name / HEADS_FILE
    try:
        heads = load_heads(made) if made.is_file() else None
    except RestemError:
        return None
    return heads if heads is not None and heads.encoder == card.sha256 else None
