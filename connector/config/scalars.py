"""The types of single values: what `values.py` reads, and what the JSON Schema says of it to an editor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from connector.config import values
from connector.config.duration import DURATION_PATTERN, SIZE_PATTERN

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
FIELD_PATTERN = r"^[^_\s]"  # names that begin with _ are the connector's own columns

# A limit stands before the function that reads the value: after it, pydantic leaves it out of the JSON Schema.
Text = Annotated[str, Field(min_length=1), BeforeValidator(values.text)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64), BeforeValidator(values.text)]
FieldName = Annotated[str, Field(pattern=FIELD_PATTERN, max_length=128)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(values.number)]
WHOLE = BeforeValidator(values.whole)
TimeZone = Annotated[str, BeforeValidator(values.time_zone)]
Region = Annotated[str, Field(pattern="^[A-Z]{2}$"), BeforeValidator(values.region)]
Cron = Annotated[str, BeforeValidator(values.cron)]
Duration = Annotated[
    float,
    PlainValidator(values.duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}]}),
]
Size = Annotated[
    int,
    PlainValidator(values.size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 0}]}),
]
TenantValue = Annotated[
    str | int | bool,
    PlainValidator(values.tenant_value),  # a union would be free to turn 42 into "42"
    WithJsonSchema({"type": ["string", "integer", "boolean"], "minLength": 1}),
]
StartValue = Annotated[
    str | int,
    PlainValidator(values.start),
    WithJsonSchema({"anyOf": [{"enum": ["beginning", "now"]}, {"type": ["string", "integer"]}]}),
]
KeyColumns = Annotated[
    tuple[Text, ...],
    BeforeValidator(values.key_columns),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
Policy = Annotated[
    Literal["refuse", "null", "text"],
    # An unquoted null is YAML's own; `shape.py` takes it for the word.
    WithJsonSchema({"enum": ["refuse", "null", "text", None]}),
]
