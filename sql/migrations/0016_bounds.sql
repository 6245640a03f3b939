-- after: bounds
-- What a browser may write is bounded: days and moments from 1900 to 2200, times below 24:00, names of 500 characters, texts
-- of 100 kB, lists of 100 items, JSON of 16 kB. And no username may pass for another.

-- What an adopted row held where it was repaired. It goes with its user.
create table coach.repaired_values (
    user_id uuid not null references auth.users (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    table_name text not null,
    row_id text not null,
    column_name text not null,
    old_value jsonb not null,
    repaired_at timestamptz not null default now(),
    primary key (user_id, id)
);
select coach.place('coach.repaired_values');
select coach.protect('coach.repaired_values');

-- Checks stand on the following functions, so they are here: PostgreSQL keeps them from being replaced.

create function coach.is_list(p_list anyarray) returns boolean
language sql immutable parallel safe
as $$
    select coalesce(array_ndims(p_list), 1) = 1
        and cardinality(p_list) <= 100
        and not exists (select from unnest(p_list) item where item is null)
$$;

create function coach.is_short_list(p_list text[]) returns boolean
language sql immutable parallel safe
set search_path = ''
as $$ select coach.is_list(p_list) and not exists (select from unnest(p_list) item where length(item) > 500) $$;

-- Python reads no number of more than 4,300 digits, and nothing that is nested a thousand deep.
create function coach.is_small_json(p_value jsonb, p_most integer) returns boolean
language sql immutable parallel safe
as $$
    select octet_length(p_value::text) <= p_most
        and not jsonb_path_exists(p_value, 'strict $.**{17}')
        and not jsonb_path_exists(p_value, 'strict $.** ? (@.type() == "number" && (@ > 1e15 || @ < -1e15))')
$$;

-- What two usernames have in common that look alike: compatible forms are one, spaces and what cannot be seen are left out,
-- and letters and digits are the Latin ones that they can be taken for (Unicode's confusables, UTS 39; of the two cases of
-- a letter, each has what either has). Greek nu and upsilon look like another letter in each case: a name that can be taken
-- for a Latin one is compared as it stands, any other in lower case.
create function coach.username_key(p_username text) returns text
language sql immutable parallel safe
set search_path = ''
as $$
    with seen as (
        select normalize(
            regexp_replace(
                normalize(p_username, NFKC),
                '[\s\u0001-\u0020\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F\u2000-\u200F'
                    '\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF9-\uFFFB'
                    '\U000E0000-\U000E0FFF]',
                '',
                'g'
            ),
            NFKC
        ) as name
    ),
    looks as (
        select
            string_agg(alike, '' order by latin) as alike,
            string_agg(repeat(latin, length(alike)), '' order by latin) as latins
        from (values
            ('2', 'ƧƨϨϩᒿꙄꙅꛯꝚꝛ'),
            ('3', 'ƷȜȝɜʒЗзӠӡⳌⳍꝪꝫꞫ'),
            ('4', 'Ꮞꮞ'),
            ('5', 'Ƽ'),
            ('6', 'БбᏮⳒⳓꮾ'),
            ('8', 'Ȣȣ৪੪'),
            ('9', '৭੧୨൭ⳊⳋꝮꝯ'),
            ('a', 'ɑΑαАаᎪᗅⱭꓮꭺ'),
            ('b', 'ƄƅΒβВЬвьᏏᏴᏼᑲᖯᗷꓐꞴꞵꮟ'),
            ('c', 'СсᏟᴄⲤⲥꓚꮯ'),
            ('d', 'ԀԁᎠᏧᑯᗞᗪꓒꓓꭰꮷ'),
            ('e', 'ΕεЕеҼҽᎬⴹꓰꬲꭼ'),
            ('f', 'ϜϝՔքᖴẝꓝꞘꞙꬵ'),
            ('g', 'ƍɡԌԍՑցᏀᏳᏻᶃꓖꞬꮐ'),
            ('h', 'ΗηНнҺһՀհᎻᏂᕼⲎⲏꓧꮋꮒ'),
            ('i', 'ıɩɪιіӏᎥꙆꙇꞮꭵ'),
            ('j', 'ʝͿϳЈјᎫᒍꓙꞲꭻ'),
            ('k', 'ΚκКкᏦᛕⲔⲕꓗꮶ'),
            ('l', 'ƖǀΙІӀ۱ᏞᒪᛁⲒⲓⳐⳑⵏꓡꓲꮮ'),
            ('m', 'ΜμϺϻМмᎷᗰᛖⲘⲙꓟꮇ'),
            ('n', 'ΝՈՌոռⲚⲛꓠ'),
            ('o', 'ςΟΣοσОоՕօ۵०০੦૦ଠ୦௦౦೦ഠ൦๐໐ဝ၀ჿዐᲿᴏᴑⲞⲟⵔ〇ꓳꬽ'),
            ('p', 'ΡρРрᏢᑭⲢⲣꓑꮲ'),
            ('q', 'ԚԛԳԶգզⵕ'),
            ('r', 'ƦʀГгᎡᎱᏒᖇᴦⲄⲅꓣꭇꭈꭱꮁꮢ'),
            ('s', 'ƽЅѕՏտᏕᏚꓢꜱꮥꮪ'),
            ('t', 'ΤτТтᎢⲦⲧꓔꭲ'),
            ('u', 'ƲʋυՍսሀᑌᴜꓴꞞꞟꭎꭒ'),
            ('v', 'νѴѵ۷Ꮩᐯᴠⴸꓦꛟꮩ'),
            ('w', 'ƜɯѠѡԜԝԱաᎳᏔᴡꓪꮃꮤ'),
            ('x', 'ΧχХхᕁᕽᚷⲬⲭⵝꓫꞳꭓ'),
            ('y', 'ƔɣʏΓΥγУуҮүყᎩᎽᲧᶌỾỿⲨⲩꓬꭚꭹꮍ'),
            ('z', 'ΖζᏃᴢꓜꮓ')
        ) letters (latin, alike)
    )
    select replace(translate(lower(translate(cased, alike, latins)), 'i1|0', 'lllo'), 'rn', 'm')
    from seen
    cross join looks
    cross join lateral (
        select
            case
                when name ~ '[A-Za-z]' or translate(name, alike, latins) ~ '^[ -~]*$' then name else lower(name)
            end as cased
    ) compared
$$;
grant execute
    on function
        coach.is_list(anyarray),
        coach.is_short_list(text[]),
        coach.is_small_json(jsonb, integer),
        coach.username_key(text)
    to authenticated, service_role;

select coach.bound(
    'pillars',
    '{name, icon, color, sort_order, time_allocation_percentage, created_at, updated_at}',
    '{description, behavior_metrics}'
);
select coach.bound(
    'areas', '{name, icon, color, sort_order, importance, created_at, updated_at}', '{description, behavior_metrics}'
);
select coach.bound(
    'projects',
    '{name, icon, color, sort_order, deadline, status, priority, importance, completion_percentage, created_at, updated_at}',
    '{description}'
);
select coach.bound(
    'tasks',
    '{name, sort_order, status, priority, due_date, due_time, reminder_date, category, completed_at, dependency_task_ids,
        recurrence, recurrence_interval, recurrence_pattern, next_due_date, estimated_duration, task_metadata, created_at,
        updated_at}',
    '{description}'
);
select coach.bound('journal_entries', '{title, mood, energy_level, tags, created_at, updated_at}', '{content}');
select coach.bound(
    'user_profiles',
    '{username, first_name, last_name, profile_picture, monthly_alignment_goal, last_username_change, timezone, created_at,
        updated_at}',
    p_owner => 'id'
);
select coach.bound(
    'user_analytics_preferences',
    '{data_retention_days, anonymize_after_days, quiet_from, quiet_until, created_at, updated_at}'
);
select coach.bound(
    'user_behavior_events',
    '{session_id, action_type, feature_name, ai_feature_type, event_data, duration_ms, timestamp, client_timestamp,
        created_at}'
);

-- The usernames there are, by their new keys. Of two that look alike the older one has it.
do $$
declare
    alike bigint;
begin
    insert into coach.system_log (webhook_type, table_name, row_id, old_value)
    select 'adoption_username_taken', 'user_profiles', id::text, jsonb_build_object('username', username)
    from (
        select
            p.id, p.username,
            row_number() over (partition by coach.username_key(p.username) order by p.created_at, p.id) as place
        from public.user_profiles p
        join coach.usernames u on u.user_id = p.id
    ) named
    where place > 1;
    get diagnostics alike = row_count;
    if alike > 0 then
        perform coach.report(format(
            'public.user_profiles: %s usernames look like another; kept until they change', alike
        ));
    end if;
    delete from coach.usernames;
    insert into coach.usernames (username, user_id)
    select distinct on (coach.username_key(username)) coach.username_key(username), id
    from public.user_profiles
    where coach.username_key(username) <> ''
    order by coach.username_key(username), created_at, id;
end
$$;
