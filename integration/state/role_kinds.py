"""Kinds of state that say who the session is."""

from integration.state.registry import kind
from integration.state.stage import CONFINED, SUPERUSER, USER, role_of


def is_user(s, expected, looks=3):
    s.shows(expected, "select current_user::text", looks)


@kind()
def set_role(s):
    """SET ROLE, another one, and RESET ROLE."""
    is_user(s, USER)
    for number in (s.marks.client, s.marks.client + 1):
        s.run("set role " + role_of(number))
        is_user(s, role_of(number))
        s.shows(USER, "select session_user::text")
    s.run("reset role")
    is_user(s, USER)


@kind()
def set_role_rolled_back(s):
    """SET ROLE in a transaction that is rolled back, or lasts no longer than that."""
    s.run("begin", "set role " + role_of(s.marks.client), "rollback")
    is_user(s, USER)
    s.run("begin", "set local role " + role_of(s.marks.client))
    is_user(s, role_of(s.marks.client), 1)
    s.run("commit")
    is_user(s, USER)


@kind()
def set_role_in_do(s):
    """SET ROLE in a DO block."""
    s.run("do $$ begin execute 'set role %s'; end $$" % role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))


@kind()
def set_role_in_function(s):
    """SET ROLE in a function."""
    s.run("select hidden.become('%s')" % role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))


@kind()
def set_role_joined(s):
    """SET ROLE and the role's name, joined in a DO block."""
    s.run("do $$ begin execute 'set role ' || quote_ident('%s'); end $$" % role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))
    s.run("do $$ begin execute concat('reset ', 'role'); end $$")
    is_user(s, USER)
    s.run("do $$ begin execute 'set ' || 'role' || ' to ' || '%s'; end $$" % role_of(s.marks.client + 1))
    is_user(s, role_of(s.marks.client + 1))


@kind()
def set_role_joined_in_function(s):
    """SET ROLE and the role's name, joined in a function."""
    s.run("select hidden.become_by_joining('%s')" % role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))


@kind()
def set_role_as_setting(s):
    """The role as a setting called role, its value bound."""
    s.bound("select set_config($1, $2, false)", "role", role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))


@kind(parameters=lambda marks: {"options": "-c role=" + role_of(marks.client)})
def role_at_start_up(s):
    """A role in the start-up options; RESET goes back to it."""
    is_user(s, role_of(s.marks.client))
    s.run("set role " + role_of(s.marks.client + 1))
    is_user(s, role_of(s.marks.client + 1))
    s.run("reset role")
    is_user(s, role_of(s.marks.client))


@kind(parameters=lambda marks: {"options": "-c role=" + role_of(marks.client)})
def role_at_start_up_given_up(s):
    """SET ROLE NONE in place of a role in the start-up options; RESET goes back to that."""
    for undone, statements in ((True, ["begin", "reset role", "rollback"]), (False, ["reset role"]),
                               (False, ["discard all"]), (True, ["reset all"]),
                               (False, ["begin", "reset role", "commit"]),
                               (False, ["reset session authorization"])):
        s.run("set role none")
        is_user(s, USER)
        s.run(*statements)
        is_user(s, USER if undone else role_of(s.marks.client))


@kind(user=CONFINED)
def role_of_role(s):
    """ALTER ROLE SET role: SET ROLE NONE is not what RESET ROLE is."""
    for gives_up in ("set role none", "select set_config('role', 'none', false)",
                     "set session authorization " + CONFINED):
        is_user(s, role_of(0))
        s.run("begin", gives_up, "rollback")
        is_user(s, role_of(0))
        s.run(gives_up)
        is_user(s, CONFINED)
        s.run("reset role")
        is_user(s, role_of(0))
    s.run("set role none", "discard all")
    is_user(s, role_of(0))
    s.run("set role " + role_of(s.marks.client))
    is_user(s, role_of(s.marks.client))
    s.run("set role none")
    is_user(s, CONFINED)


@kind(user=SUPERUSER)
def session_authorization(s):
    """SET SESSION AUTHORIZATION and back."""
    is_user(s, SUPERUSER)
    s.run("set session authorization " + role_of(s.marks.client))
    s.shows(role_of(s.marks.client), "select session_user::text")
    is_user(s, role_of(s.marks.client))
    s.run("reset session authorization")
    is_user(s, SUPERUSER)


@kind(user=SUPERUSER)
def session_authorization_and_role(s):
    """SET SESSION AUTHORIZATION, then SET ROLE, then each taken back."""
    s.run("set session authorization " + USER, "set role " + role_of(s.marks.client))
    s.shows(USER, "select session_user::text")
    is_user(s, role_of(s.marks.client))
    s.run("set role none")
    is_user(s, USER)
    s.run("set session authorization default")
    is_user(s, SUPERUSER)


@kind(user=SUPERUSER)
def role_ended_by_session_authorization(s):
    """A new session authorization ends the role that was set, however it is spelled."""
    for spelled in ("set session authorization %s", "set session_authorization = %s",
                    "select set_config('session_authorization', '%s', false)"):
        s.run("set role " + role_of(s.marks.client), spelled % USER)
        is_user(s, USER)
        s.run("reset session authorization")
        is_user(s, SUPERUSER)


@kind(user=SUPERUSER)
def session_authorization_in_function(s):
    """SET SESSION AUTHORIZATION in a function."""
    s.run("select hidden.become_wholly('%s')" % role_of(s.marks.client))
    s.shows(role_of(s.marks.client), "select session_user::text")


@kind(user=SUPERUSER)
def session_authorization_joined(s):
    """SET SESSION AUTHORIZATION and the name, joined in a DO block."""
    s.run("do $$ begin execute 'set session authorization ' || '%s'; end $$" % role_of(s.marks.client))
    s.shows(role_of(s.marks.client), "select session_user::text")


@kind(user=SUPERUSER)
def privilege_given_up(s):
    """A superuser who has become somebody else is no superuser."""
    s.run("set role " + role_of(s.marks.client))
    for _ in range(3):
        s.fails("42501", "select pg_read_file('PG_VERSION')")
    s.setting("is_superuser", "off")
    s.run("reset role")
    s.shows("15\n", "select pg_read_file('PG_VERSION')")


@kind()
def row_security_by_role(s):
    """Row security by role shows this role's rows."""
    s.shows("0", "select count(*) from hidden.roles")
    s.run("set role " + role_of(s.marks.client))
    s.shows(role_of(s.marks.client), "select string_agg(distinct place, ',') from hidden.roles")
