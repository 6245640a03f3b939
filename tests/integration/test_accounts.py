"""People's accounts: made by name, admitted by token."""

from __future__ import annotations

from uuid import uuid4

import pytest

from coach.errors import Conflict, InvalidInput, Unauthenticated
from coach.identity import users
from coach.identity.users import Accounts, ensure_user


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


async def profiles(owner, user_id):
    found = await owner.execute("select username from user_profiles where id = %s", (user_id,))
    return await found.fetchall()


async def test_a_name_is_the_same_user_each_time(owner):
    first = await ensure_user(owner, "Ann Smith")

    assert await ensure_user(owner, "  ann smith ") == first
    assert await profiles(owner, first) == [("Ann Smith",)]
    assert await ensure_user(owner, "Ben") != first


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\0b", "\x1b[31m"])
async def test_a_name_that_is_none_is_refused(owner, name):
    with pytest.raises(InvalidInput, match="name"):
        await ensure_user(owner, name)


async def test_another_accounts_username_is_not_taken_over(owner, new_user):
    someone = await new_user()
    await owner.execute("update user_profiles set username = 'Carla' where id = %s", (someone,))

    with pytest.raises(Conflict, match="carla"):
        await ensure_user(owner, "carla")


async def test_the_worker_may_make_users_too(worker_url):
    from coach.database.pool import Database

    db = Database(worker_url)
    await db.open()
    async with db.as_operator() as tx:
        assert await ensure_user(tx, "Dora")
    await db.close()


async def test_a_known_account_is_asked_about_once_in_ten_minutes(db, new_user, owner, clock):
    accounts, user_id = Accounts(db, clock=clock), await new_user()
    await accounts.admit(user_id)
    await owner.execute("delete from auth.users where id = %s", (user_id,))

    await accounts.admit(user_id)
    clock.now += users.REMEMBERED_FOR + 1
    with pytest.raises(Unauthenticated, match="no account"):
        await accounts.admit(user_id)


async def test_a_stranger_is_refused_every_time_and_let_in_once_there_is_an_account(db, owner):
    accounts, user_id = Accounts(db), uuid4()
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await accounts.admit(user_id)

    await owner.execute("insert into auth.users (id) values (%s)", (user_id,))
    await accounts.admit(user_id)

    assert await profiles(owner, user_id) == [(None,)]


async def test_a_profile_is_not_touched_by_being_admitted(db, owner):
    user_id = await ensure_user(owner, "Emil")

    await Accounts(db).admit(user_id)

    assert await profiles(owner, user_id) == [("Emil",)]


async def test_only_so_many_are_remembered(db, new_user, monkeypatch):
    monkeypatch.setattr(users, "MAX_REMEMBERED", 2)
    accounts = Accounts(db)
    for _ in range(4):
        await accounts.admit(await new_user())
    assert len(accounts._admitted) == 2
