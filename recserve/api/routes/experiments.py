"""Handlers of experiments."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.body import read, validate
from recserve.api.routes.recommendations import backend_of
from recserve.api.schemas.experiments import StartBody, StopBody, experiment_answer
from recserve.api.schemas.responses import json_response
from recserve.api.settings import ApiSettings
from recserve.auth.caller import caller_of
from recserve.experiments.definition import NAME, Definition, parse_definition

ExperimentName = Annotated[
    str, Path(pattern=NAME, description="The experiment's name.", examples=["fewer-neighbours"])
]


class ExperimentRoutes:
    """The handlers.

    Args:
        settings: The API's settings.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    async def list_experiments(self, request: Request) -> Response:
        """Answer `GET /v1/experiments`."""
        found = await backend_of(request).experiments.list()
        return json_response({"experiments": [experiment_answer(experiment) for experiment in found]})

    async def create_experiment(self, request: Request) -> Response:
        """Answer `POST /v1/experiments`."""
        definition: Definition = await read(request, self._settings.max_body_bytes, parse_definition)
        created = await backend_of(request).experiments.create(definition, caller_of(request).actor)
        return json_response(experiment_answer(created))

    async def experiment(self, request: Request, name: ExperimentName) -> Response:
        """Answer `GET /v1/experiments/{name}`."""
        return json_response(experiment_answer(await backend_of(request).experiments.get(name)))

    async def report_experiment(self, request: Request, name: ExperimentName) -> Response:
        """Answer `GET /v1/experiments/{name}/report`."""
        backend = backend_of(request)
        found = await backend.experiments.get(name)
        return Response(await backend.reports.experiment_report(found), media_type="application/json")

    async def start_experiment(self, request: Request, name: ExperimentName) -> Response:
        """Answer `POST /v1/experiments/{name}/start`."""

        def parse(data: Any) -> StartBody:
            return validate(StartBody, data)

        body = await read(request, self._settings.max_body_bytes, parse)
        started = await backend_of(request).experiments.start(name, body.share, caller_of(request).actor)
        return json_response(experiment_answer(started))

    async def stop_experiment(self, request: Request, name: ExperimentName) -> Response:
        """Answer `POST /v1/experiments/{name}/stop`."""

        def parse(data: Any) -> StopBody:
            return validate(StopBody, data)

        body = await read(request, self._settings.max_body_bytes, parse)
        actor = caller_of(request).actor
        stopped = await backend_of(request).experiments.stop(name, body.reason, body.arm, actor)
        return json_response(experiment_answer(stopped))
