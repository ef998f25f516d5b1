"""The JSON Schema of a pipeline file says of it what assembling says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from medseg.assemble import assemble, pipeline_schema
from medseg.config import PipelineFile
from medseg.errors import PipelineError
from medseg.plugin.catalog import discover

Install = Callable[..., None]


def accepts(schema: Any, value: Any, root: Any) -> bool:  # noqa: PLR0911 - one for each keyword
    """Whether a value is valid under the keywords of JSON Schema that medseg's schema uses."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "null": type(None), "boolean": bool, "integer": int,
        "number": (int, float),
    }  # fmt: skip
    if schema is True or schema == {}:
        return True
    if "$ref" in schema and not accepts(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root):
        return False
    named = schema.get("type", [])
    types = [named] if isinstance(named, str) else named
    fits = [isinstance(value, kinds[t]) and (t == "boolean" or not isinstance(value, bool)) for t in types]
    several = schema.get("anyOf", schema.get("oneOf", [True]))
    if (fits and not any(fits)) or not any(accepts(option, value, root) for option in several):
        return False
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = {key: item for key, item in value.items() if key not in properties}
        extra = schema.get("additionalProperties", True)
        return (
            set(schema.get("required", ())) <= set(value)
            and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
            and all(accepts(properties[key], item, root) for key, item in value.items() if key in properties)
            and (
                not others if extra is False else all(accepts(extra, item, root) for item in others.values())
            )
        )
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(
            accepts(schema.get("items", True), item, root) for item in value
        )
    return True


@pytest.mark.parametrize(
    "content",
    [
        {"segment": "bright"},
        {"segment": {"bright": {"level": 3}}},
        {"segment": {"bright": None}},
        {"segment": {"bright": {"levl": 3}}},
        {"segment": {"bright": {"level": "x"}}},
        {"segment": "brigt"},
        {"segment": 3},
        {"segmnt": "bright"},
        {"segment": "bright", "preprocess": ["scale", "medseg/z-score"]},
        {"segment": "bright", "preprocess": [{"fake-good/scale": {"by": 2}}]},
        {"segment": "bright", "preprocess": "scale"},
        {"segment": "bright", "preprocess": ["smooth"]},
        {"segment": "bright", "preprocess": ["resample"]},
        {"segment": "bright", "preprocess": [{"resample": {"spacing": [1, 1, 1]}}]},
        {"segment": "bright", "inputs": [{"nme": "a"}]},
        {"segment": "bright", "inputs": []},
        {"segment": "bright", "labels": {"1": {"name": "a", "color": "#000000"}}},
        {"segment": "ensemble"},
        {"segment": {"ensemble": None}},
        {"segment": {"ensemble": {"first": "smooth"}}},
        {"segment": {"ensemble": {"first": "smoth"}}},
        {"segment": {"ensemble": {"first": {"smooth": {"radius": 1}}, "members": ["smooth", "both"]}}},
        {"segment": {"ensemble": {"first": {"smooth": {"radus": 1}}}}},
        {
            "segment": {
                "ensemble": {"first": "smooth", "backup": None, "named": {"a": {"repeat": {"step": "both"}}}}
            }
        },
        {"segment": {"ensemble": {"first": "smooth", "named": {"a": {"repeat": {}}}}}},
        {"segment": {"ensemble": {"first": "smooth", "level": {"lowest": 1}}}},
        {"segment": {"ensemble": {"first": "smooth", "level": {"lowst": 1}}}},
    ],
    ids=str,
)
def test_the_schema_accepts_and_refuses_what_assembling_does(
    install: Install, content: dict[str, Any]
) -> None:
    install("good")
    catalog = discover()
    schema = json.loads(json.dumps(pipeline_schema(catalog)))
    try:
        assemble(PipelineFile.model_validate(content), catalog)
        right = True
    except (ValueError, PipelineError):
        right = False
    assert accepts(schema, content, schema) is right


def test_the_schema_has_no_loose_ends_and_leaves_out_what_cannot_be_loaded(install: Install) -> None:
    install("good", "classes", "misbehaving", "clashing")
    schema = pipeline_schema(discover())
    text = json.dumps(schema)
    wanted = {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert wanted <= set(schema["$defs"])
    for kind in ("preprocessor", "segmenter", "postprocessor", "measurement", "writer"):
        assert schema["$defs"][kind]["anyOf"]
    names = {
        name for choice in schema["$defs"]["postprocessor"]["anyOf"] for name in choice.get("properties", ())
    }
    assert {"smooth", "fake-good/smooth", "keep-largest"} <= names
    assert not names & {"no-module", "ends", "abstract", "wrong-kind", "unwritable"}
