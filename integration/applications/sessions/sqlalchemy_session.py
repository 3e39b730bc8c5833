"""SQLAlchemy (1.4): engine with a pool, ORM, streams, savepoints, isolation levels, reflection."""

import sqlalchemy as sa
from sqlalchemy import event, orm

from integration.applications.sessions.printing import tell

Base = orm.declarative_base()


class Author(Base):
    __tablename__ = "authors"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(40), unique=True)
    books = orm.relationship("Book", back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.Text, index=True)
    written = sa.Column(sa.DateTime(timezone=True))
    author_id = sa.Column(sa.ForeignKey("authors.id"))
    author = orm.relationship("Author", back_populates="books")


IDENTITY = sa.text("select current_user, current_setting('search_path'), current_setting('timezone'),"
                   " current_setting('lock_timeout')")


def make_engine():
    engine = sa.create_engine("postgresql+psycopg2://", pool_size=2, max_overflow=0, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def set_up(connection, _record):
        """As people set a search_path for a tenant."""
        with connection.cursor() as cursor:
            cursor.execute("set session search_path = library, shop")
            cursor.execute("set time zone 'Pacific/Auckland'")
            cursor.execute("set lock_timeout = '7s'")
        connection.commit()

    return engine


def write(session):
    for number in range(5):
        author = Author(name="author %d" % number)
        author.books = [Book(title="book %d of %d" % (n, number), written="2026-05-06 07:08:09+00")
                        for n in range(number)]
        session.add(author)
    session.commit()
    try:
        with session.begin_nested():
            session.add(Author(name="author 1"))
            session.flush()
    except sa.exc.IntegrityError as error:
        tell("integrity", error.orig.pgcode)
    session.add(Author(name="after the savepoint"))
    session.commit()
    session.query(Author).filter(Author.name == "author 4").one().books[0].title = "renamed"
    session.commit()


def read(session):
    for author in session.query(Author).options(orm.selectinload(Author.books)).order_by(Author.name):
        tell(author.name, [(book.title, book.written) for book in author.books])
    session.commit()
    tell("counted", session.execute(
        sa.select(Author.name, sa.func.count(Book.id)).join(Book).group_by(Author.name).order_by(Author.name)
    ).all())
    tell("locked", session.query(Author).with_for_update(skip_locked=True).order_by(Author.id).first().name)
    session.rollback()


def streams(engine):
    with engine.connect() as connection:
        rows = connection.execution_options(stream_results=True, max_row_buffer=3).execute(
            sa.text("select n, current_schema() from generate_series(1, 50) n"))
        tell("streamed", [tuple(row) for row in rows.fetchmany(3)] + [len(rows.fetchall())])


def levels(engine):
    for level in ("SERIALIZABLE", "REPEATABLE READ", "AUTOCOMMIT", "READ COMMITTED"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            for _ in range(2):
                tell(level, (connection.execute(sa.text("show transaction_isolation")).scalar(),
                             tuple(connection.execute(IDENTITY).one())))


def reflect(engine):
    inspector = sa.inspect(engine)
    tell("schemas", inspector.get_schema_names())
    tell("tables", (inspector.get_table_names(), inspector.get_table_names("shop"), inspector.get_view_names("shop")))
    tell("columns", [(column["name"], str(column["type"]), column["default"])
                     for column in inspector.get_columns("products", "shop")])
    tell("keys", (inspector.get_pk_constraint("books"), inspector.get_foreign_keys("books"),
                  inspector.get_indexes("books"), inspector.get_check_constraints("orders", "shop")))
    products = sa.Table("products", sa.MetaData(), autoload_with=engine, schema="shop")
    with engine.begin() as connection:
        tell("reflected", connection.execute(sa.select(products.c.name).order_by(products.c.id).limit(3)).all())
        tell("translated", connection.execution_options(schema_translate_map={None: "library"}).execute(
            sa.select(sa.func.count()).select_from(Book)).scalar())


def main():
    engine = make_engine()
    with engine.begin() as connection:
        connection.execute(sa.text("create schema library"))
    Base.metadata.create_all(engine)
    with engine.connect() as one, engine.connect() as other:  # both of the pool at once
        tell("identities", (tuple(one.execute(IDENTITY).one()), tuple(other.execute(IDENTITY).one())))
    with orm.Session(engine) as session:
        write(session)
        read(session)
        read(session)
    streams(engine)
    levels(engine)
    reflect(engine)
    Base.metadata.drop_all(engine)
    tell("dropped", sa.inspect(engine).get_table_names())
    engine.dispose()


if __name__ == "__main__":
    main()
