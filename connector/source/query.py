"""A client's raw query: one SELECT, kept as it was written.

sqlglot only looks: it tells that the text is a single SELECT, where its own outer row limit begins, and whether a slot
stands where a value may stand. The limit is cut off the text, since inside it would hide rows from the keyset outside;
nothing else is rewritten.
"""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from connector.errors import ConfigError
from connector.source.select import Query, Slot

SLOT = re.compile(r"\{\$([^}]*)\}")
STAND_IN = "connector_slot_"
REMEDY = "Write one SELECT, without a trailing row limit that the connector can't recognise"
LIMITS = (TokenType.LIMIT, TokenType.FETCH, TokenType.OFFSET)
LIMIT_WORDS = frozenset(
    {"LIMIT", "OFFSET", "FETCH", "FIRST", "NEXT", "ROW", "ROWS", "ONLY", "WITH", "TIES", ",", "ALL"}
)


def parse_query(text: str, grammar: str) -> Query:
    """Return the query without its outer LIMIT, cut at its slots; ConfigError when it is not one plain SELECT."""
    unknown = set(SLOT.findall(text)) - set(Slot)
    if unknown:
        raise ConfigError("the query names a slot that does not exist", remedy="There are {$last_id} and {$last_date}")
    body = SLOT.sub(lambda found: STAND_IN + found[1], text).strip()
    try:
        statements = sqlglot.parse(body, read=grammar)
        tokens = sqlglot.tokenize(body, read=grammar)
    except SqlglotError:
        raise ConfigError("the query is not SQL that can be understood", remedy=REMEDY) from None
    found = [one for one in statements if one is not None and not isinstance(one, exp.Semicolon)]
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise ConfigError("the query is not one SELECT", remedy=REMEDY)
    statement = found[0]
    if any(statement.find_all(exp.Lock, exp.Into)):
        raise ConfigError("the query locks or writes", remedy="Remove FOR UPDATE, FOR SHARE and INTO")
    limited = bool(statement.args.get("limit") or statement.args.get("offset") or statement.args.get("fetch"))
    last = next((token.start for token in tokens if token.token_type is TokenType.SEMICOLON), len(body))
    tokens = [token for token in tokens if token.start < last]
    end = _tail(tokens) if limited else last
    return Query(_cut(body[:end].rstrip(), [token for token in tokens if token.start < end]))


def _tail(tokens: list[Token]) -> int:
    """Return where the outer row limit begins: the first LIMIT, OFFSET or FETCH behind which nothing else stands."""
    begin: int | None = None
    for token in reversed(tokens):
        word = token.text.upper()
        if token.token_type is not TokenType.NUMBER and word not in LIMIT_WORDS:
            break
        if token.token_type in LIMITS:
            begin = token.start
    if begin is None:
        raise ConfigError("the query limits its rows in a way that can't be removed", remedy=REMEDY)
    return int(begin)


def _cut(text: str, tokens: list[Token]) -> tuple[str | Slot, ...]:
    """Cut a query at its slots. A quoted slot is taken with its quotes; inside a longer text it is refused."""
    parts: list[str | Slot] = []
    done = 0
    for token in tokens:
        written = text[token.start : token.end + 1]
        if STAND_IN not in written:
            continue
        slot = token.text.removeprefix(STAND_IN)
        quoted_name = token.token_type is TokenType.IDENTIFIER
        if quoted_name or slot not in set(Slot):
            raise ConfigError(
                "a slot stands inside a text or a quoted name",
                remedy="Write {$last_id} or {$last_date} where a value stands, by itself",
            )
        parts += [text[done : token.start], Slot(slot)]
        done = token.end + 1
    parts.append(text[done:])
    if any(isinstance(part, str) and STAND_IN in part for part in parts):
        raise ConfigError("a slot stands in a comment", remedy="Remove it there")
    return tuple(part for part in parts if part)
