"""Write the pages below docs/ that are made of the code: `python -m userbert.reference`."""

from contracts.commands import PROJECT_ROOT
from userbert.reference.error_pages import troubleshooting_page
from userbert.reference.runbook_page import runbook_page

GENERATED_PAGES = {"troubleshooting.md": troubleshooting_page, "runbook.md": runbook_page}

if __name__ == "__main__":
    for name, page in GENERATED_PAGES.items():
        (PROJECT_ROOT / "docs" / name).write_text(page(), encoding="utf-8")
