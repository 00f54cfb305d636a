-- The outbox of Quipu (docs/outbox.md). PostgreSQL 14 or newer. Run it as often as you like: what is there stays.
-- An application needs INSERT on quipu_outbox and USAGE on its sequence, the relay SELECT and DELETE on quipu_outbox,
-- SELECT and UPDATE on quipu_outbox_place, and INSERT on quipu_outbox_refused.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('quipu_outbox'));

-- The transaction stands first: a row has it before it draws its id.
CREATE TABLE IF NOT EXISTS quipu_outbox (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigserial PRIMARY KEY,
    time timestamptz NOT NULL DEFAULT clock_timestamp(),
    event json NOT NULL
);

-- One row: the number of the newest batch and the ids in it. Quipu records the number with the events.
CREATE TABLE IF NOT EXISTS quipu_outbox_place (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    source text NOT NULL DEFAULT 'outbox:' || gen_random_uuid(),
    number bigint NOT NULL DEFAULT 0,
    ids bigint[] NOT NULL DEFAULT '{}'
);
INSERT INTO quipu_outbox_place DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Events that Quipu refused and that the relay was told to pass over.
CREATE TABLE IF NOT EXISTS quipu_outbox_refused (
    id bigint NOT NULL,
    time timestamptz NOT NULL,
    event json NOT NULL,
    reason text NOT NULL,
    refused_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE FUNCTION quipu_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('quipu_outbox', '');
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER quipu_outbox_notify AFTER INSERT ON quipu_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION quipu_outbox_notify();
COMMIT;
