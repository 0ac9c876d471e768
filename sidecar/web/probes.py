"""The routes for scrapers and probes. They have a listener of their own: who scrapes need not reach the API."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI, Request, Response

from sidecar.status import Status
from sidecar.web.answers import JsonAnswer
from sidecar.web.app import add_errors


def create_probes(status: Callable[[], Status], metrics: Callable[[str], tuple[bytes, str]]) -> FastAPI:
    """Make them.

    Args:
        status: How the sidecar is. Called in the event loop's thread.
        metrics: Renders all metrics for an Accept header: body and content type. Called in the event loop's thread.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JsonAnswer:
        """The process is alive and its event loop turns."""
        return JsonAnswer({"status": "ok"})

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> JsonAnswer:
        """Gateways can link and incidents are kept; 503 until then. What to mend is named by its code alone."""
        now = status()
        code = HTTPStatus.OK if now.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JsonAnswer({"ready": now.ready, "problems": [one.code for one in now.problems]}, status_code=code)

    @app.get("/metrics")
    async def scrape(request: Request) -> Response:
        """All metrics, for Prometheus."""
        body, content_type = metrics(request.headers.get("accept", ""))
        # As a header, not as media_type: the content type is complete, and Starlette would add a charset to it.
        return Response(body, headers={"content-type": content_type})

    add_errors(app)
    return app
