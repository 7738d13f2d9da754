"""The receipt: one purchase or return, with or without a known customer."""

from __future__ import annotations

from connector.core.entity import Entity, EntityField, FieldType, Parent

RECEIPT = Entity(
    name="receipt",
    load_order=4,
    rules=1,
    identity=("local_id",),
    parents=(Parent("customer", "customer_local_id"),),
    fields=(
        EntityField("local_id", required=True),
        EntityField("customer_local_id"),  # null: an anonymous purchase
        EntityField("number"),
        EntityField("date", FieldType.TIMESTAMP, required=True),
        EntityField("status"),
        EntityField("total", FieldType.DECIMAL, required=True),
        EntityField("items_count", FieldType.INTEGER),
        EntityField("currency"),
        EntityField("shop"),
    ),
)
