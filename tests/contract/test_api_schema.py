"""The API against its own OpenAPI 3.1 description: schemathesis asks everything, in this process."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from ledger_worlds import World, api
from pipeline.model.errors import UsageError
from pipeline.stores.access import SCOPES
from pipeline.stores.database import open_database

NOT_OURS = [positive_data_acceptance, ignored_auth]
"""A made-up permit is rightly refused; keys are tried one by one in ``test_api_gate``."""


def nothing_to_mark(submission_id: str, content_index: int | None, recipient: str) -> None:
    raise UsageError("content.unknown", "this world holds no files")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("schema")
    world = World(open_database(f"sqlite:///{folder / 'x.db'}"))
    world.task("t")
    world.submit("s")
    world.judge("s", "approve")
    app, services = api(world, folder, intake=lambda kind, data: [], marker=nothing_to_mark)
    key = services.access.make("all", SCOPES, per_minute=10_000_000)
    app.state.key = key
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    services.writer.close()
    services.reader.close()
    world.database.close()


def test_every_answer_is_as_described(described: Any) -> None:
    headers = {"Authorization": f"Bearer {described.app.state.key}"}
    asked = 0
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=8, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate,),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(
                headers=headers | {"Idempotency-Key": f"k{asked}"},
                excluded_checks=NOT_OURS,
            )

        ask()
    assert asked > 50
