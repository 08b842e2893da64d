"""The errors restem raises on purpose.

Every message is one or two lines that name the file and the remedy; the command line prints it as it is.
"""

from __future__ import annotations


class RestemError(Exception):
    """Base of all errors restem raises on purpose; the command line exits with status 1."""


class UsageError(RestemError):
    """The call itself is wrong (an argument out of range, an unknown name); exit status 2."""


class TaxonomyError(RestemError):
    """An invalid taxonomy, or a class, alias or label set that a taxonomy does not have."""


class AudioError(RestemError):
    """A file that cannot be decoded, or holds samples that cannot be used."""


class DatasetError(RestemError):
    """A folder or table that cannot be read as a dataset, or not without guessing."""


class RunError(RestemError):
    """A run folder that is missing, unfinished or does not belong to the dataset."""
