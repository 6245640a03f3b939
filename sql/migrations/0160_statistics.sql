-- Every index of this table begins with the person. While they are taken to have one row each, all indexes look equally
-- good to a statement about one row, also those that go on with a column it does not ask for: deleting ten thousand tasks
-- then reads ten thousand vectors for each. Whoever is here has hundreds. Counts from the next analyze on.
do $$
begin
    if not coach.on_citus() then
        alter table public.user_metadata_embeddings alter user_id set (n_distinct = -0.01);
    end if;
end
$$;
