-- By when it was done, not by when it was asked for: after a backlog the two are hours apart.
drop index public.webhook_logs_embedded_idx;
create index if not exists webhook_logs_embedded_idx
    on public.webhook_logs (processed_at)
    where webhook_type = 'metadata_embedding_completed';
