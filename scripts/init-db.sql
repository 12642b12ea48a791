-- Run once, by the superuser, in an empty cluster: the roles, each with the least that it needs, and the database.
--   library_migrate     owns the database and its tables; only `library migrate` uses it
--   library_app         reads and writes rows; can't change a table
--   library_readonly    reads rows, for reports; every transaction of its own is read-only
--   library_exporter    reads the server's figures
--   library_replicator  streams the write-ahead log
-- Passwords come from the container's secrets.
\set ON_ERROR_STOP on
\set migrate_password `cat /run/secrets/db_migrate_password`
\set app_password `cat /run/secrets/db_app_password`
\set readonly_password `cat /run/secrets/db_readonly_password`
\set exporter_password `cat /run/secrets/db_exporter_password`
\set replicator_password `cat /run/secrets/db_replicator_password`

CREATE ROLE library_migrate LOGIN PASSWORD :'migrate_password';
CREATE ROLE library_app LOGIN PASSWORD :'app_password' CONNECTION LIMIT 60;
CREATE ROLE library_readonly LOGIN PASSWORD :'readonly_password' CONNECTION LIMIT 5;
CREATE ROLE library_exporter LOGIN PASSWORD :'exporter_password' CONNECTION LIMIT 5 IN ROLE pg_monitor;
CREATE ROLE library_replicator LOGIN REPLICATION PASSWORD :'replicator_password' CONNECTION LIMIT 5;
-- Behind PgBouncer the service can't set them for its session.
ALTER ROLE library_app SET statement_timeout = '2s';
ALTER ROLE library_app SET lock_timeout = '1s';
ALTER ROLE library_app SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE library_app SET jit = off;
ALTER ROLE library_readonly SET default_transaction_read_only = on;
ALTER ROLE library_readonly SET statement_timeout = '15s';
-- A migration may take its time, but never make others wait for a lock of it.
ALTER ROLE library_migrate SET statement_timeout = 0;

-- What the replica hasn't read yet is kept for it, up to max_slot_wal_keep_size.
SELECT pg_create_physical_replication_slot('replica');

CREATE DATABASE library OWNER library_migrate ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE library FROM PUBLIC;
GRANT CONNECT ON DATABASE library TO library_app, library_readonly, library_exporter;

\connect library
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO library_migrate;
GRANT USAGE ON SCHEMA public TO library_app, library_readonly;
ALTER DEFAULT PRIVILEGES FOR ROLE library_migrate IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO library_app;
ALTER DEFAULT PRIVILEGES FOR ROLE library_migrate IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO library_app;
ALTER DEFAULT PRIVILEGES FOR ROLE library_migrate IN SCHEMA public GRANT SELECT ON TABLES TO library_readonly;
