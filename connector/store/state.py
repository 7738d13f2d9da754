"""What a stream has reached: its registration, its watermark, its open pulls, the order of its snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, exists, insert, select, text, update

from connector.errors import ConfigError, LeaseLost, StoreError
from connector.model import LIVE, OpenPull, StreamId, Watermark
from connector.store import codec, tables

_streams = tables.streams.c

# Understood by every database that a store runs on, where SQLAlchemy has one form for each.
_SET_OPEN_PULL = text("""
INSERT INTO lanes (stream_id, lane, open_pull, updated_at) VALUES (:stream_id, :lane, :open_pull, :updated_at)
ON CONFLICT (stream_id, lane) DO UPDATE SET open_pull = excluded.open_pull, updated_at = excluded.updated_at
""")


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A registered stream. Streams of one client that feed one entity share a scope, within which identities differ."""

    stream_id: int
    scope_id: int
    id: StreamId
    entity: str


@dataclass(frozen=True, slots=True)
class WatermarkMove:
    """Who moves a watermark, when, and why."""

    run_id: int
    moved_at: float
    reason: str
    kept: int  # how many moves of a stream are remembered


def find_stream(conn: Connection, stream: StreamId) -> StreamRow | None:
    """Return a stream's registration, if it has one."""
    row = _find(conn, stream)
    return None if row is None else stream_row(row)


def stream_row(row: Row[tuple[object, ...]]) -> StreamRow:
    """Read a row of the table."""
    return StreamRow(row.stream_id, row.scope_id, StreamId(row.client, row.name), row.entity)


def register(conn: Connection, stream: StreamId, entity: str, renamed_from: str | None, now: float) -> StreamRow:
    """Return the stream's row; create it, or give the row of the former name the new one."""
    row = _find(conn, stream)
    if renamed_from is not None and (row is None or row.renamed_from != renamed_from):
        former = _find(conn, StreamId(stream.client, renamed_from))
        if former is not None:
            _rename(conn, former, row, stream, renamed_from)
            row = _find(conn, stream)
    if row is not None:
        require_entity(stream_row(row), entity)
        return stream_row(row)
    scope_id = _scope(conn, stream.client, entity)
    stream_id = conn.execute(
        insert(tables.streams)
        .values(client=stream.client, name=stream.name, entity=entity, scope_id=scope_id, read_order=0, created_at=now)
        .returning(_streams.stream_id)
    ).scalar_one()
    return StreamRow(stream_id, scope_id, stream, entity)


def require_entity(row: StreamRow, entity: str) -> None:
    """Raise ConfigError when a stream that has state is to feed another entity."""
    if row.entity != entity:
        raise ConfigError(
            f"the stream fed {row.entity!r} so far and can't go on with {entity!r}",
            remedy=f"Put `entity: {row.entity}` back, or give the stream a new name to read from its start",
            where=str(row.id),
        )


def settled(conn: Connection, stream: StreamId, renamed_from: str | None) -> StreamRow | None:
    """Return the stream's row when `register` would have nothing to write."""
    row = _find(conn, stream)
    if row is None:
        return None
    if renamed_from is None or row.renamed_from == renamed_from:
        return stream_row(row)
    return None if _find(conn, StreamId(stream.client, renamed_from)) is not None else stream_row(row)


def watermark(conn: Connection, stream_id: int) -> Watermark | None:
    stored = conn.execute(select(_streams.watermark).where(_streams.stream_id == stream_id)).scalar_one()
    return None if stored is None else codec.load_watermark(stored)


def move_watermark(conn: Connection, row: StreamRow, lane: str, to: Watermark, move: WatermarkMove) -> None:
    """Store the watermark and how it came; only the live lane may."""
    if lane != LIVE:
        raise StoreError(
            f"lane {lane} tried to move the watermark, which belongs to lane {LIVE}",
            remedy="This is a fault of connector: report it with the log",
            where=str(row.id),
        )
    moves = tables.watermark_moves
    before = conn.execute(select(_streams.watermark).where(_streams.stream_id == row.stream_id)).scalar_one()
    after = codec.dump(to)
    conn.execute(update(tables.streams).where(_streams.stream_id == row.stream_id).values(watermark=after))
    conn.execute(
        insert(moves).values(
            stream_id=row.stream_id,
            run_id=move.run_id,
            moved_at=move.moved_at,
            reason=move.reason,
            before=before,
            after=after,
        )
    )
    oldest_kept = (
        select(moves.c.move_id)
        .where(moves.c.stream_id == row.stream_id)
        .order_by(moves.c.move_id.desc())
        .offset(move.kept)
        .limit(1)
        .scalar_subquery()
    )
    conn.execute(delete(moves).where(moves.c.stream_id == row.stream_id, moves.c.move_id <= oldest_kept))


def open_pull(conn: Connection, stream_id: int, lane: str) -> OpenPull | None:
    lanes = tables.lanes.c
    stored = conn.execute(
        select(lanes.open_pull).where(lanes.stream_id == stream_id, lanes.lane == lane)
    ).scalar_one_or_none()
    return None if stored is None else codec.load_open_pull(stored)


def set_open_pull(conn: Connection, stream_id: int, lane: str, to: OpenPull | None, now: float) -> None:
    if to is None:
        lanes = tables.lanes
        conn.execute(delete(lanes).where(lanes.c.stream_id == stream_id, lanes.c.lane == lane))
    else:
        values = {"stream_id": stream_id, "lane": lane, "open_pull": codec.dump(to), "updated_at": now}
        conn.execute(_SET_OPEN_PULL, values)


def next_read_order(conn: Connection, stream_id: int) -> int:
    """Count one more snapshot of the stream and return its number."""
    orders = conn.execute(
        update(tables.streams)
        .where(_streams.stream_id == stream_id)
        .values(read_order=_streams.read_order + 1)
        .returning(_streams.read_order)
    )
    order = orders.scalar_one_or_none()
    if order is None:
        raise LeaseLost("the stream is no longer registered", remedy="Start the run again")
    return int(order)


def _find(conn: Connection, stream: StreamId) -> Row[tuple[object, ...]] | None:
    where = (_streams.client == stream.client, _streams.name == stream.name)
    return conn.execute(select(tables.streams).where(*where)).one_or_none()


def _scope(conn: Connection, client: str, entity: str) -> int:
    scopes = tables.scopes
    find = select(scopes.c.scope_id).where(scopes.c.client == client, scopes.c.entity == entity)
    found = conn.execute(find).scalar_one_or_none()
    if found is None:
        conn.execute(insert(scopes).values(client=client, entity=entity))
        found = conn.execute(find).scalar_one()
    return int(found)


def _rename(
    conn: Connection,
    former: Row[tuple[object, ...]],
    present: Row[tuple[object, ...]] | None,
    stream: StreamId,
    renamed_from: str,
) -> None:
    """Let the former name's row take the new name; what runs there were under the new name come along."""
    if present is not None:
        # Registered by a first run that came before `renamed_from` was set, and that committed nothing.
        if not _is_blank(conn, present):
            raise ConfigError(
                f"`renamed_from: {renamed_from}` can't be followed: both names have state of their own",
                remedy="Remove `renamed_from`, or forget one of the two streams first",
                where=str(stream),
            )
        conn.execute(
            update(tables.runs).where(tables.runs.c.stream_id == present.stream_id).values(stream_id=former.stream_id)
        )
        conn.execute(delete(tables.quarantine).where(tables.quarantine.c.stream_id == present.stream_id))
        conn.execute(delete(tables.streams).where(_streams.stream_id == present.stream_id))
    conn.execute(
        update(tables.streams)
        .where(_streams.stream_id == former.stream_id)
        .values(name=stream.name, renamed_from=renamed_from)
    )


def _is_blank(conn: Connection, row: Row[tuple[object, ...]]) -> bool:
    busy = [
        exists().where(table.c.stream_id == row.stream_id) for table in (tables.segments, tables.lanes, tables.leases)
    ]
    return row.watermark is None and not any(conn.execute(select(each)).scalar() for each in busy)
