-- What a client is asked for: a login that can read its tables and nothing else.
CREATE USER connector@'%' IDENTIFIED BY 'sample-only';
GRANT SELECT ON customers TO connector@'%';
GRANT SELECT ON receipts TO connector@'%';
