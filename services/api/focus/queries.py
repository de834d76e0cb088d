"""The statements of the ranked seats: one for whose they are and how they stand, one for a page of them."""

from __future__ import annotations

from functools import lru_cache

from services.api.reasons.facts import FACT_COLUMNS, FACT_JOINS, MODELS, SCORE_COLUMNS, SCORE_JOIN, STEP_JOIN
from shared.db import Query, sql

# Looked up by key, one owner's subjects at most: however many marks of others stand, this stays as fast. Where no
# mark stands at all, nothing is looked up.
_PENDING = """
CASE WHEN EXISTS (SELECT FROM scoring.dirty_marks d WHERE d.workspace_id = m.workspace_id) THEN
  EXISTS (SELECT FROM scoring.dirty_marks d WHERE d.workspace_id = m.workspace_id
    AND d.subject_type = 'workspace' AND d.subject_id = m.workspace_id)
  OR EXISTS (SELECT FROM scoring.dirty_marks d WHERE d.workspace_id = m.workspace_id
    AND d.subject_type = 'owner' AND d.subject_id = m.id)
  OR EXISTS (SELECT FROM scoring.dirty_marks d WHERE d.workspace_id = m.workspace_id
    AND d.subject_type = 'opportunity' AND d.subject_id = ANY(ARRAY(
      SELECT o.id FROM sales.opportunities o
      WHERE o.workspace_id = m.workspace_id AND o.owner_id = m.id AND o.status = 'open'
      UNION SELECT s.subject_id FROM scoring.seats s WHERE s.workspace_id = m.workspace_id AND s.owner_id = m.id)))
  OR EXISTS (SELECT FROM scoring.dirty_marks d WHERE d.workspace_id = m.workspace_id
    AND d.subject_type = 'customer' AND d.subject_id = ANY(ARRAY(
      SELECT c.id FROM sales.customers c WHERE c.workspace_id = m.workspace_id AND c.owner_id = m.id
      UNION SELECT s.customer_id FROM scoring.seats s WHERE s.workspace_id = m.workspace_id AND s.owner_id = m.id)))
ELSE false END
"""
POLICY = """
LEFT JOIN LATERAL (
  SELECT document FROM sales.policies WHERE workspace_id = m.workspace_id
  ORDER BY recorded_at DESC, id DESC LIMIT 1
) p ON true
"""
OWNER = sql(
    f"""
    SELECT m.id, m.name, m.role, m.active, m.version, m.engage_capacity, m.track_capacity, m.monitor_capacity,
      p.document -> 'capacities' AS capacities, w.currency, w.time_zone, l.counts, l.shortages, l.triaged_at,
      u.*, {MODELS}, ({_PENDING}) AS pending
    FROM sales.members m
    JOIN sales.workspaces w ON w.id = m.workspace_id
    {POLICY}
    LEFT JOIN scoring.loads l ON l.workspace_id = m.workspace_id AND l.owner_id = m.id
    LEFT JOIN LATERAL (
      SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s.margin) FILTER (WHERE s.margin > 0) AS usual_margin,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.urgency) AS usual_urgency,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.hours) AS usual_hours,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.contributions[1]) AS usual_base_rate
      FROM scoring.scores s WHERE s.workspace_id = m.workspace_id AND s.owner_id = m.id
    ) u ON true
    WHERE m.workspace_id = CAST(:workspace_id AS uuid) AND m.id = CAST(:owner_id AS uuid)
    """
)


@lru_cache(maxsize=16)
def page(by_class: bool, after: bool) -> Query:
    """A page of one owner's seats in some bands, by rank, with everything their reasons are told with."""
    conditions = "AND s.class_code = CAST(:class_code AS smallint)" if by_class else ""
    if after:
        conditions += " AND (s.rank, s.subject_id) > (CAST(:after_value AS int), CAST(:after_id AS uuid))"
    step = STEP_JOIN.format(workspace="s.workspace_id", opportunity="o.id", customer="s.customer_id")
    return sql(
        f"""
        WITH page AS MATERIALIZED (
          SELECT s.* FROM scoring.seats s
          WHERE s.workspace_id = CAST(:workspace_id AS uuid) AND s.owner_id = CAST(:owner_id AS uuid)
            AND s.band = ANY(CAST(:bands AS text[])) {conditions}
          ORDER BY s.rank, s.subject_id LIMIT :page_limit
        )
        SELECT s.subject_type, s.subject_id AS id, s.customer_id, s.band, s.rank, s.class_code, s.priority, s.since,
          c.name AS customer_name, c.version AS customer_version, o.name AS opportunity_name,
          o.version AS opportunity_version, g.id AS pin_id, g.kind AS pin_kind, g.band AS pin_band,
          g.expires_at AS pin_expires_at, {FACT_COLUMNS}, {SCORE_COLUMNS}
        FROM page s
        JOIN sales.customers c ON c.workspace_id = s.workspace_id AND c.id = s.customer_id
        LEFT JOIN sales.opportunities o ON s.subject_type = 'opportunity' AND o.workspace_id = s.workspace_id
          AND o.id = s.subject_id
        {FACT_JOINS} {step} {SCORE_JOIN}
        LEFT JOIN sales.pins g ON g.workspace_id = s.workspace_id AND g.subject_type = s.subject_type
          AND g.subject_id = s.subject_id AND g.ended_at IS NULL AND g.expires_at > CAST(:now AS timestamptz)
        ORDER BY s.rank, s.subject_id
        """
    )


@lru_cache(maxsize=32)
def moves(by_owners: bool, by_subject: bool, since: bool, after: bool) -> Query:
    """Moves, the newest first, with the names of the subject and of the other one in its cause."""
    conditions = "v.workspace_id = CAST(:workspace_id AS uuid)"
    if by_owners:
        conditions += " AND v.owner_id = ANY(CAST(:owners AS uuid[]))"
    if by_subject:
        conditions += " AND v.subject_id = CAST(:subject_id AS uuid)"
    if since:
        conditions += " AND v.recorded_at >= CAST(:since AS timestamptz)"
    if after:
        conditions += " AND v.id < CAST(:after_id AS uuid)"
    names = """
        LEFT JOIN sales.opportunities {o} ON {o}.workspace_id = v.workspace_id AND {o}.id = {id}
        LEFT JOIN sales.customers {c} ON {c}.workspace_id = v.workspace_id AND {c}.id = {id}
    """
    return sql(
        f"""
        WITH v AS MATERIALIZED (
          SELECT v.*, CAST(v.cause -> 'by' ->> 'id' AS uuid) AS by_id FROM scoring.moves v
          WHERE {conditions} ORDER BY v.id DESC LIMIT :page_limit
        )
        SELECT v.id, v.owner_id, v.subject_type, v.subject_id, v.from_band, v.to_band, v.cause, v.recorded_at,
          coalesce(o.name, c.name) AS subject_name, coalesce(bo.name, bc.name) AS by_name
        FROM v {names.format(o="o", c="c", id="v.subject_id")} {names.format(o="bo", c="bc", id="v.by_id")}
        ORDER BY v.id DESC
        """
    )


@lru_cache(maxsize=8)
def overview(by_owners: bool, after: bool) -> Query:
    """How each rep stands, with the engage seats that are being forgotten."""
    conditions = "m.workspace_id = CAST(:workspace_id AS uuid)"
    if by_owners:
        conditions += " AND m.id = ANY(CAST(:owners AS uuid[]))"
    if after:
        conditions += " AND (m.name, m.id) > (CAST(:after_value AS text), CAST(:after_id AS uuid))"
    return sql(
        f"""
        WITH m AS MATERIALIZED (
          SELECT m.* FROM sales.members m
          WHERE {conditions} AND (m.role = 'rep' AND m.active OR EXISTS (
            SELECT FROM scoring.seats s WHERE s.workspace_id = m.workspace_id AND s.owner_id = m.id))
          ORDER BY m.name, m.id LIMIT :page_limit
        ), forgotten AS (
          SELECT d.version, CAST(f.place AS int) - 1 AS bit
          FROM scoring.models d
          CROSS JOIN LATERAL jsonb_array_elements_text(d.codes -> 'flags') WITH ORDINALITY AS f(code, place)
          WHERE d.workspace_id = CAST(:workspace_id AS uuid) AND f.code = 'being_forgotten'
        )
        SELECT m.id, m.name, m.role, m.active, m.version, m.engage_capacity, m.track_capacity, m.monitor_capacity,
          p.document -> 'capacities' AS capacities, l.counts, l.shortages, l.triaged_at,
          (SELECT coalesce(jsonb_agg(jsonb_build_object('type', s.subject_type, 'id', s.subject_id, 'name', o.name,
              'rank', s.rank) ORDER BY s.rank), '[]')
            FROM scoring.seats s
            JOIN scoring.scores sc ON sc.workspace_id = s.workspace_id AND sc.opportunity_id = s.subject_id
            JOIN forgotten f ON f.version = sc.model_version
            JOIN sales.opportunities o ON o.workspace_id = s.workspace_id AND o.id = s.subject_id
            WHERE s.workspace_id = m.workspace_id AND s.owner_id = m.id AND s.band = 'engage'
              AND (sc.flags >> f.bit) & 1 = 1) AS neglected
        FROM m
        {POLICY}
        LEFT JOIN scoring.loads l ON l.workspace_id = m.workspace_id AND l.owner_id = m.id
        ORDER BY m.name, m.id
        """
    )
