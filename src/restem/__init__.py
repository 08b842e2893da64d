"""restem finds what is really in every stem of a multitrack music dataset, and corrects the labels.

    import restem

    run = restem.refine("my-stems", "run")
    restem.export(run, "my-stems-refined")

The verbs are those of the command line. Importing restem is cheap: each verb loads what it needs when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from restem._version import __version__
from restem.errors import AudioError, DatasetError, RestemError, RunError, TaxonomyError, UsageError
from restem.taxonomy import Taxonomy, read_taxonomy

if TYPE_CHECKING:
    from restem.api import audit, refine, report, score, serve_review
    from restem.auditing.audit import Audit, open_audit
    from restem.dataset.corrupt import corrupt
    from restem.dataset.errata import errata
    from restem.dataset.layouts import open_dataset
    from restem.dataset.scan import ScanSummary, scan
    from restem.dataset.table import Dataset, Stem
    from restem.evaluation.labels import LabelScore
    from restem.evaluation.separation import Evaluation
    from restem.hub.transfer import Sent, Taken, pull, push
    from restem.labelling.classifier import Classifier, load_classifier
    from restem.labelling.prediction import Prediction
    from restem.labelling.settings import RefineSettings
    from restem.runs.export import ExportSummary
    from restem.runs.label_tracks import export_label_tracks, import_label_tracks
    from restem.runs.ledger import Decision
    from restem.runs.run import Run, export_decisions, import_decisions, open_run
    from restem.separation.exporting import Interface, export_model
    from restem.separation.separator import Separator, load_separator
    from restem.separation.songs import SeparationSummary, separate, separate_audio
    from restem.separation.train import train
    from restem.separation.train_settings import TrainSettings
    from restem.separator_api import evaluate, export

_HOMES = {
    "open_dataset": "restem.dataset.layouts",
    "Dataset": "restem.dataset.table",
    "Stem": "restem.dataset.table",
    "scan": "restem.dataset.scan",
    "ScanSummary": "restem.dataset.scan",
    "audit": "restem.api",
    "Audit": "restem.auditing.audit",
    "open_audit": "restem.auditing.audit",
    "corrupt": "restem.dataset.corrupt",
    "errata": "restem.dataset.errata",
    "refine": "restem.api",
    "RefineSettings": "restem.labelling.settings",
    "open_run": "restem.runs.run",
    "Run": "restem.runs.run",
    "Decision": "restem.runs.ledger",
    "score": "restem.api",
    "LabelScore": "restem.evaluation.labels",
    "report": "restem.api",
    "serve_review": "restem.api",
    "export_decisions": "restem.runs.run",
    "export_label_tracks": "restem.runs.label_tracks",
    "import_label_tracks": "restem.runs.label_tracks",
    "import_decisions": "restem.runs.run",
    "export": "restem.separator_api",
    "ExportSummary": "restem.runs.export",
    "load_classifier": "restem.labelling.classifier",
    "Classifier": "restem.labelling.classifier",
    "Prediction": "restem.labelling.prediction",
    "train": "restem.separation.train",
    "TrainSettings": "restem.separation.train_settings",
    "separate": "restem.separation.songs",
    "SeparationSummary": "restem.separation.songs",
    "separate_audio": "restem.separation.songs",
    "evaluate": "restem.separator_api",
    "Evaluation": "restem.evaluation.separation",
    "load_separator": "restem.separation.separator",
    "Separator": "restem.separation.separator",
    "export_model": "restem.separation.exporting",
    "Interface": "restem.separation.exporting",
    "push": "restem.hub.transfer",
    "Sent": "restem.hub.transfer",
    "pull": "restem.hub.transfer",
    "Taken": "restem.hub.transfer",
}

__all__ = [
    "Audit",
    "AudioError",
    "Classifier",
    "Dataset",
    "DatasetError",
    "Decision",
    "Evaluation",
    "Interface",
    "ExportSummary",
    "LabelScore",
    "Prediction",
    "RefineSettings",
    "RestemError",
    "Run",
    "RunError",
    "ScanSummary",
    "Sent",
    "SeparationSummary",
    "Separator",
    "Stem",
    "Taken",
    "Taxonomy",
    "TaxonomyError",
    "TrainSettings",
    "UsageError",
    "__version__",
    "audit",
    "corrupt",
    "errata",
    "evaluate",
    "export",
    "export_decisions",
    "export_label_tracks",
    "export_model",
    "import_decisions",
    "import_label_tracks",
    "load_classifier",
    "load_separator",
    "open_audit",
    "open_dataset",
    "open_run",
    "pull",
    "push",
    "read_taxonomy",
    "refine",
    "report",
    "scan",
    "score",
    "separate",
    "separate_audio",
    "serve_review",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'restem' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
