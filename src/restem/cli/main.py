"""The command line: parses, calls, prints. What the commands do lives in the rest of the house."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from restem._version import __version__
from restem.cli import auditing, datasets, encoders, publishing, relabelling, separation
from restem.cli.options import with_addresses
from restem.cli.shared import complain
from restem.cli.spelling import as_options, command_of
from restem.errors import RestemError, UsageError
from restem.renaming import RenamedWarning

app = App(
    name="restem",
    help="Finds what is really in every stem of a multitrack music dataset, and corrects the labels.",
    version=__version__,
    help_epilogue="Every command takes --help. Add --debug to see where an error comes from.",
    suppress_keyboard_interrupt=False,  # it is answered below
    default_parameter=Parameter(converter=with_addresses),
)
for _command in (
    relabelling.demo, datasets.scan, auditing.audit, datasets.errata, datasets.corrupt, relabelling.refine,
    relabelling.score, relabelling.report, relabelling.review, relabelling.export, separation.train,
    separation.separate, separation.evaluate, publishing.export_model, publishing.push, publishing.pull,
):  # fmt: skip
    app.command(_command)
app.command(encoders.app)
app.register_install_completion_command(help="Install completion for the shell that runs this: bash, zsh or fish.")


# What `files.written_aside` calls a file while it is written.
_TEMPORARY = re.compile(r"\.([^/\\]+)\.[0-9a-f]{8}\.part$")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status."""
    debug = "--debug" in arguments
    tokens = [argument for argument in arguments if argument != "--debug"]
    command = command_of(app, tokens)
    try:
        with _printed_notices(command):
            app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        if debug:
            raise
        complain(f"{error} (see `restem {f'{tokens[0]} ' if command else ''}--help`)".replace("\n", " "))
        return 2
    except RestemError as error:
        if debug:
            raise
        complain(as_options(str(error), command))
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        complain("Interrupted; the same command goes on from here.")
        return 130
    except OSError as error:
        if debug:
            raise
        complain(_told(error))
        return 1
    except Exception as error:
        if debug:
            raise
        complain(f"A fault in restem itself: {type(error).__name__}: {error}\nAdd --debug to see where.")
        return 1
    return 0


def _told(error: OSError) -> str:
    """A system's error in one line, which names the file that was to be written, not the temporary one beside it."""
    place, problem = error.filename, error.strerror
    if not place:
        # Of polars: "No such file or directory (os error 2): FILE".
        problem, _, place = str(error).rpartition(": ")
    named = _TEMPORARY.sub(r"\1", str(place))
    return f"{named}: {(problem or str(error)).lower()}."


@contextmanager
def _printed_notices(command: App | None) -> Iterator[None]:
    """Prints notices about names of earlier versions as one line, instead of as Python's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedWarning)
        shown, show = set(), warnings.showwarning

        def print_notice(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, RenamedWarning):
                show(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                complain(as_options(str(message), command))

        warnings.showwarning = print_notice
        yield


if __name__ == "__main__":
    main()
