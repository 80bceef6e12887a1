"""What browsers see: the page at ``/`` and Swagger UI at ``/docs``, all from this machine, no CDN."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import fastapi_swagger
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parents[2] / "static"
_SWAGGER = Path(fastapi_swagger.__file__).parent / "resources"

# A browser gets nothing from elsewhere, runs no script but ours, and shows the page in nobody's frame.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


# The frame of an offline report: the console, which is of the same origin, fills it; nothing runs in it.
_REPORT_FRAME = '<!doctype html><html lang="en"><head><title>Report</title></head><body></body></html>'
_REPORT_FRAME_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache",
}


def _headers(policy: str) -> dict[str, str]:
    return {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}


def _policy_of(html: str) -> str:
    """The policy of a page whose own text holds scripts: those scripts, and no other ones, by their hash."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return f"{_POLICY}; script-src 'self' {allowed}"


def install(app: FastAPI) -> None:
    """Add the page, its files and the documentation. Links are relative, so any path prefix works."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=_headers(_POLICY))

    swagger = bytes(
        get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{app.title}: API",
            swagger_js_url="docs/static/swagger-ui-bundle.js",
            swagger_css_url="docs/static/swagger-ui.css",
            swagger_favicon_url="docs/static/favicon-32x32.png",
            # The validator badge would send the document's address to a server on the internet.
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        ).body
    ).decode()
    docs_headers = _headers(_policy_of(swagger))

    async def docs(request: Request) -> Response:
        return HTMLResponse(swagger, headers=docs_headers)

    async def report_frame(request: Request) -> Response:
        return HTMLResponse(_REPORT_FRAME, headers=_REPORT_FRAME_HEADERS)

    app.add_route("/", page, include_in_schema=False)
    app.add_route("/report-frame", report_frame, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.mount("/docs/static", StaticFiles(directory=_SWAGGER), name="swagger-ui")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
