"""What there is to choose from: engines and entities, by the names that the configuration uses."""

from __future__ import annotations

from connector.core.entities.customer import CUSTOMER
from connector.core.entities.receipt import RECEIPT
from connector.core.entity import Entity
from connector.source.dialect import Dialect
from connector.source.dialects.mysql import Mysql
from connector.source.dialects.postgresql import Postgresql
from connector.source.dialects.sqlite import Sqlite

DIALECTS: dict[str, Dialect] = {
    "mysql": Mysql(),
    "postgresql": Postgresql(),
    "sqlite": Sqlite(),
}

ALIASES: dict[str, str] = {"mariadb": "mysql", "postgres": "postgresql"}
"""Other names that people and URLs use for an engine."""

ENTITIES: dict[str, Entity] = {entity.name: entity for entity in (CUSTOMER, RECEIPT)}
