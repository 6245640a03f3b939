-- How many rows a line of the audit trail speaks of: users read it, and the pipeline's rate is the sum of it.
alter table public.webhook_logs add column if not exists row_count integer;
