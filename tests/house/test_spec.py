import json
import subprocess
import sys

import jsonschema
import msgspec
import pytest

from taskd.model.events import TaskReady
from tests.house.source import ROOT


def test_the_generated_contract_is_up_to_date():
    """`make spec` writes it again."""
    run = subprocess.run(
        [sys.executable, ROOT / "spec" / "generate.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_schemas_are_schemas_and_fit_what_is_sent():
    schema = json.loads((ROOT / "spec" / "schema" / "events.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    params = {"seq": 1, "at": "2026-01-01T00:00:00.000Z", "taskId": "a"} | msgspec.to_builtins(TaskReady(incarnation=1))
    ready = {"$defs": schema["$defs"], **schema["properties"]["task_ready"]}

    jsonschema.validate(params, ready)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(params | {"incarnation": "one"}, ready)


def test_every_method_of_the_openrpc_document_names_its_params_and_result():
    document = json.loads((ROOT / "spec" / "openrpc.json").read_bytes())
    schemas = document["components"]["schemas"]

    for method in document["methods"]:
        for param in method["params"]:
            jsonschema.Draft202012Validator.check_schema(param["schema"])
        assert method["result"]["schema"]["$ref"].rpartition("/")[2] in schemas
