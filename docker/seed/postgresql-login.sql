-- What a client is asked for: a login that can read its tables and nothing else.
CREATE ROLE connector LOGIN PASSWORD 'sample-only';
GRANT SELECT ON customers, receipts TO connector;
