"""Property tests of the API against its OpenAPI document."""

from itertools import product

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
OPERATIONS = 13


@pytest.fixture(scope="module")
def admin(still_world):
    return {"authorization": f"Bearer {still_world.tokens['admin']}"}


def test_the_api_conforms_to_its_openapi_document(still_world, admin):
    document = schemathesis.openapi.from_asgi("/api/openapi.json", still_world.app, headers=admin)
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == OPERATIONS
    for operation, mode in product(operations, GenerationMode):

        @settings(
            max_examples=8,
            database=None,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case):
            case.call_and_validate(headers=admin, checks=CHECKS)

        check()
