"""Run reports and Data Docs in Airflow's UI: an entry in its menu, and the pages behind it.

Airflow loads each module of this folder as plugins (AIRFLOW__CORE__PLUGINS_FOLDER) in each of its
processes, so what serves pages is imported only by the one that serves.
"""

from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from contracts.paths import Places

_FOLDERS = ("reports", "gates/docs")  # of the data root: nothing else is served
# The pages hold text out of data. Should some of it ever become markup, it runs no script and has
# none of the rights of whoever is logged in to Airflow.
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def served_file(root: Path, path: str) -> Path | None:
    """The file of a request's path; None for what is not there, or lies elsewhere."""
    file = (root / path).resolve()
    folders = [(root / folder).resolve() for folder in _FOLDERS]
    is_inside = any(file.is_relative_to(folder) for folder in folders)
    return file if is_inside and file.suffix in (".html", ".json") and file.is_file() else None


def pages_app() -> Any:
    """Serves files to whoever is logged in to Airflow."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import FileResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/{path:path}", dependencies=[Depends(get_user)])
    def page(path: str) -> FileResponse:
        file = served_file(Places.from_environment().root, path)
        if file is None:
            raise HTTPException(404, f"there is no {path}: `userbert report` writes it")
        return FileResponse(file, headers={"Content-Security-Policy": _POLICY})

    return app


class ReportPages(AirflowPlugin):
    """What Airflow finds here."""

    name = "userbert_reports"
    external_views = [  # noqa: RUF012
        {
            "name": "Run reports",
            "href": "/userbert/reports/index.html",
            "destination": "nav",
            "category": "browse",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [{"app": pages_app(), "url_prefix": "/userbert", "name": "userbert_reports"}]
