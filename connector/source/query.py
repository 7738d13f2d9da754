"""A client's raw query: one SELECT, kept as it was written.

sqlglot only looks: it tells that the text is a single SELECT and where its own outer ORDER BY and LIMIT begin. They
are cut off the text, since a limit inside would hide rows from the keyset outside; nothing else is rewritten.
"""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from connector.errors import ConfigError
from connector.source.select import Query, Slot

SLOT = re.compile(r"'\{\$(last_id|last_date)\}'|\{\$(last_id|last_date)\}")
STAND_IN = "connector_slot_"
REMEDY = "Write one SELECT, without a trailing row limit that the connector can't recognise"


def parse_query(text: str, grammar: str) -> Query:
    """Return the query without its outer LIMIT, cut at its slots; ConfigError when it is not one plain SELECT."""
    body = SLOT.sub(lambda found: STAND_IN + (found[1] or found[2]), text).strip().rstrip(";").rstrip()
    try:
        statements = sqlglot.parse(body, read=grammar)
        tokens = sqlglot.tokenize(body, read=grammar)
    except SqlglotError:
        raise ConfigError("the query is not SQL that can be understood", remedy=REMEDY) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise ConfigError("the query is not one SELECT", remedy=REMEDY)
    statement = statements[0]
    if any(statement.find_all(exp.Lock, exp.Into)):
        raise ConfigError("the query locks or writes", remedy="Remove FOR UPDATE, FOR SHARE and INTO")
    end = _tail(tokens, bool(statement.args.get("limit") or statement.args.get("offset")))
    return Query(_cut(body[:end].rstrip() if end is not None else body))


def _tail(tokens: list[Token], limited: bool) -> int | None:
    """Return where the outer row limit begins, at parenthesis depth 0; None when there is none."""
    depth, found = 0, None
    for token in tokens:
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and found is None and token.token_type in (TokenType.LIMIT, TokenType.FETCH, TokenType.OFFSET):
            found = token.start
    if limited and found is None:
        raise ConfigError("the query limits its rows in a way that can't be removed", remedy=REMEDY)
    return found if limited else None


def _cut(text: str) -> tuple[str | Slot, ...]:
    pieces = re.split(f"{STAND_IN}(last_id|last_date)", text)
    return tuple(Slot(piece) if index % 2 else piece for index, piece in enumerate(pieces) if piece)
