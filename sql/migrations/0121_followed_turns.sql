-- When somebody on another server process last read a turn that is kept alive by its readers.
alter table public.turn_checkpoints add column if not exists followed_at timestamptz;
