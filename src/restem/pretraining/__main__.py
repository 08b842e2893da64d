"""Makes what comes with restem pretrained, in the folder OUT; results of an earlier call are kept.

    python -m restem.pretraining OUT [--songs 400] [--steps 6000] [--workers 1]    # the classifier
    python -m restem.pretraining OUT --heads musicnn [--songs 240] [--workers 1]   # heads for an installed encoder

The classifier is OUT/classifier, two files that `restem/labelling/pretrained_weights` holds; heads are
OUT/NAME.safetensors, for `restem/labelling/pretrained_head_weights`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from restem.executing.processes import Processes
from restem.labelling.encoders.registry import encoders_folder, installed
from restem.labelling.heads import save_heads
from restem.pretraining.classifier import train_pretrained
from restem.pretraining.heads import SHIPPED_SONGS, make_heads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", metavar="ENCODER")
    parser.add_argument("--songs", type=int)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    executor = Processes(arguments.workers)
    if arguments.heads is None:
        print(train_pretrained(arguments.out, arguments.songs or 400, arguments.steps, executor))
        return
    if arguments.heads not in installed():
        parser.error(f"The encoder {arguments.heads!r} is not installed.")
    card, path = installed()[arguments.heads], arguments.out / f"{arguments.heads}.safetensors"
    save_heads(path, make_heads(card, encoders_folder(), arguments.out, arguments.songs or SHIPPED_SONGS, executor))
    print(path)


if __name__ == "__main__":
    main()
