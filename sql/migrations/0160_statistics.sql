-- Every index begins with the person. While a table is taken to have one row of each, all of them look equally good to a
-- statement about one row, also those that go on with a column it does not ask for: deleting ten thousand tasks then
-- reads ten thousand vectors for each. Whoever is here has hundreds. Counts from the next analyze on.
do $$
declare
    t text;
begin
    if not coach.on_citus() then
        foreach t in array array[
            'tasks', 'ai_conversation_memory', 'user_metadata_embeddings', 'embedding_queue'
        ] loop
            execute format('alter table public.%I alter user_id set (n_distinct = -0.01)', t);
        end loop;
    end if;
end
$$;
