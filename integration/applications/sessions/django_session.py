"""Django: its own migrations, atomic blocks, server-side cursors, SET TIME ZONE, DDL by its schema editor."""

import datetime
import os

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
        "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"], "CONN_MAX_AGE": None,
        "OPTIONS": {"options": "-c search_path=site,public"}}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True, TIME_ZONE="Europe/Berlin", SECRET_KEY="of this session", DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
django.setup()
# pylint: disable=wrong-import-position
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from integration.applications.sessions.printing import tell  # noqa: E402


class Visit(models.Model):
    """A table made and changed by the schema editor, as a migration does."""
    member = models.ForeignKey(User, on_delete=models.CASCADE)
    at = models.DateTimeField(db_index=True)
    tags = ArrayField(models.CharField(max_length=10), default=list)

    class Meta:
        app_label = "auth"
        db_table = "visits"


def identity():
    with connection.cursor() as cursor:
        cursor.execute("select current_user, current_setting('search_path'), current_setting('timezone')")
        return cursor.fetchone()


def migrate():
    with connection.cursor() as cursor:
        cursor.execute("create schema site")
    call_command("migrate", verbosity=1, no_color=True)
    call_command("showmigrations", no_color=True)
    with connection.schema_editor() as editor:
        editor.create_model(Visit)
        field = models.IntegerField(default=1)
        field.set_attributes_from_name("rating")
        editor.add_field(Visit, field)
        editor.remove_field(Visit, field)
    tell("tables", sorted(connection.introspection.table_names()))


def write():
    for number in range(6):
        user = User.objects.create_user("member %d" % number, "m%d@example.org" % number, "secret")
        Visit.objects.bulk_create([
            Visit(member=user, at=timezone.make_aware(datetime.datetime(2026, 7, 1 + n, 12)), tags=["t%d" % n])
            for n in range(number * 3)])
    with transaction.atomic():
        User.objects.filter(username="member 0").update(first_name="Zero")
        try:
            with transaction.atomic():
                User.objects.create_user("member 1")
        except IntegrityError as error:
            tell("integrity", error.__cause__.pgcode)
        Group.objects.create(name="after the savepoint")
    try:
        with transaction.atomic():
            Group.objects.create(name="never")
            raise ValueError
    except ValueError:
        pass
    tell("groups", list(Group.objects.values_list("name", flat=True)))


def read():
    tell("identity", identity())
    tell("per member", list(User.objects.annotate(n=models.Count("visit")).order_by("username").values_list(
        "username", "n", "first_name")))
    # Outside a transaction its server-side cursor is WITH HOLD.
    visits = Visit.objects.order_by("member__username", "at").iterator(chunk_size=7)
    tell("iterated", [(visit.member_id > 0, visit.at.isoformat(), visit.tags) for visit in visits][::9])
    with transaction.atomic():
        visits = Visit.objects.order_by("at").iterator(chunk_size=5)
        tell("in a transaction", sum(1 for _ in visits))
        tell("locked", list(User.objects.select_for_update(skip_locked=True).order_by("id").values_list(
            "username", flat=True))[:2])
    with timezone.override("Asia/Tokyo"):
        tell("by day", list(Visit.objects.filter(tags__contains=["t1"]).annotate(
            day=models.functions.TruncDate("at")).values_list("day", flat=True).distinct()))
    tell("permissions", Permission.objects.count())


def switch_zone():
    """Another time zone for the connection, as `DATABASES["TIME_ZONE"]` has it."""
    with connection.cursor() as cursor:
        cursor.execute("set time zone 'Asia/Tokyo'")
        for _ in range(3):
            tell("zone", identity())
            cursor.execute("select max(at)::text from visits")
            tell("latest", cursor.fetchone())


def store():
    session = SessionStore()
    session["who"] = "me"
    session.create()
    tell("session", SessionStore(session_key=session.session_key)["who"])
    tell("explained", Visit.objects.filter(id=0).explain().startswith(("Index", "Seq", "Bitmap")))


def main():
    migrate()
    write()
    read()
    switch_zone()
    store()
    call_command("sqlflush", no_color=True)
    with connection.schema_editor() as editor:
        editor.delete_model(Visit)
    connection.close()
    tell("reconnected", identity())


if __name__ == "__main__":
    main()
