"""`report.html` of an audit: every finding on one page that needs nothing else, in tables that can be sorted."""

from __future__ import annotations

from markupsafe import Markup

from restem.auditing.audit import Audit
from restem.auditing.findings import MEANINGS
from restem.files import written_aside
from restem.review.rendering import environment, package_data
from restem.review.report import page_policy
from restem.runs.run import REPORT_FILE

MOST_ROWS = 2000  # of one kind: the CSV holds all


def write_audit_report(audit: Audit) -> None:
    """Writes `report.html` into the folder of an audit."""
    script = package_data("report.js")
    kinds = [
        (kind, MEANINGS[kind], count, audit.findings.filter(audit.findings["kind"] == kind).head(MOST_ROWS).to_dicts())
        for kind, count in audit.counts().items()
    ]
    verdicts = audit.mixtures.filter(audit.mixtures["verdict"] != "none")
    page = (
        environment()
        .get_template("audit.html")
        .render(
            policy=Markup(page_policy(script)),
            style=Markup(package_data("report.css")),
            script=Markup(script),
            title=audit.dataset_root.name or str(audit.dataset_root),
            root=audit.dataset_root,
            kinds=kinds,
            findings=len(audit.findings),
            songs=len(audit.mixtures),
            verdicts=verdicts["verdict"].value_counts(sort=True).rows(),
            failed=dict(audit.failed),
            most=MOST_ROWS,
        )
    )
    with written_aside(audit.path / REPORT_FILE) as aside:
        aside.write_text(page, encoding="utf-8")
