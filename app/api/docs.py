"""The interactive documentation: Swagger UI and ReDoc from this service itself, no other host asked."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.api import violations

STATIC: Final = Path(__file__).resolve().parents[1] / "static"
router = APIRouter(include_in_schema=False)

# ReDoc sets two styles of its own: an empty one that it fills by script, and the one of its scroll bars. A release that
# brings another shows it in the browser's console, with the hash to put here.
_STYLES: Final = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
_POLICY: Final = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {_STYLES}; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none';"
    f" frame-ancestors 'none'; report-uri {violations.PATH}"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Library API</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
{body}
</body>
</html>
"""
_MISSING: Final = (
    "<h1>The documentation's scripts are not installed</h1>"
    "<p>Run <code>make assets</code> (it needs npm) and load this page again."
    ' The document itself is at <a href="/openapi.json">/openapi.json</a>.</p>'
)


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
    return _page(
        "vendor/swagger-ui-dist/swagger-ui-bundle.js",
        head='<link rel="stylesheet" href="/static/vendor/swagger-ui-dist/swagger-ui.css">',
        body='<div id="swagger-ui"></div><script src="/static/vendor/swagger-ui-dist/swagger-ui-bundle.js"></script>'
        '<script src="/static/docs.js"></script>',
    )


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    return _page(
        "vendor/redoc/redoc.standalone.js",
        head="",
        body='<redoc spec-url="/openapi.json"></redoc><script src="/static/vendor/redoc/redoc.standalone.js"></script>',
    )


def _page(script: str, *, head: str, body: str) -> HTMLResponse:
    is_installed = (STATIC / script).exists()
    html = _PAGE.format(head=head, body=body) if is_installed else _PAGE.format(head="", body=_MISSING)
    return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})
