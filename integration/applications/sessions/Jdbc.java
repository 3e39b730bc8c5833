// JDBC: with and without autocommit, statements that become server-side prepares, fetch size, savepoints.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

public class Jdbc {
    static final String IDENTITY =
        "select current_user, current_setting('search_path'), current_setting('timezone'), current_setting('statement_timeout')";

    static void tell(String label, Object value) {
        System.out.println(label + ": " + value);
    }

    static String row(ResultSet rows) throws SQLException {
        StringBuilder text = new StringBuilder();
        for (int column = 1; column <= rows.getMetaData().getColumnCount(); ++column) {
            text.append(column > 1 ? " | " : "").append(rows.getString(column));
        }
        return text.toString();
    }

    static String all(Connection connection, String sql) throws SQLException {
        List<String> seen = new ArrayList<>();
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                seen.add(row(rows));
            }
        }
        return seen.toString();
    }

    interface Doing { void run() throws SQLException; }

    static void refused(String label, Doing doing) {
        try {
            doing.run();
            tell(label, "not refused");
        } catch (SQLException error) {
            tell(label, error.getSQLState());
        }
    }

    static Connection connect(String... properties) throws SQLException {
        Properties with = new Properties();
        with.setProperty("user", System.getenv("PGUSER"));
        for (int n = 0; n < properties.length; n += 2) {
            with.setProperty(properties[n], properties[n + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT")
            + "/" + System.getenv("PGDATABASE"), with);
    }

    static void prepared(String name, Connection connection) throws SQLException {
        connection.setSchema("shop");
        try (Statement statement = connection.createStatement()) {
            statement.execute("set time zone 'Australia/Perth'");
            statement.execute("set statement_timeout = 77777");
        }
        if (!connection.getAutoCommit()) {
            connection.commit();
        }
        try (PreparedStatement product = connection.prepareStatement("select name, price from products where id = ?");
             PreparedStatement sum = connection.prepareStatement("select ?::int + ?::int")) {
            for (int n = 1; n < 9; ++n) { // from the fifth time on by a name
                product.setInt(1, n);
                try (ResultSet rows = product.executeQuery()) {
                    rows.next();
                    tell(name + " product", row(rows));
                }
                sum.setInt(1, n);
                sum.setInt(2, 10);
                try (ResultSet rows = sum.executeQuery()) {
                    rows.next();
                    tell(name + " sum", row(rows));
                }
                tell(name + " identity", all(connection, IDENTITY));
                if (!connection.getAutoCommit()) {
                    connection.commit();
                }
            }
            refused(name + " type", () -> {
                sum.setString(1, "x");
                sum.executeQuery();
            });
            if (!connection.getAutoCommit()) {
                refused(name + " failed", () -> all(connection, "select 1"));
                connection.rollback();
            }
        }
        try (PreparedStatement insert = connection.prepareStatement(
                 "insert into orders (tenant, product, amount) values (?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int n = 1; n < 40; ++n) {
                insert.setString(1, name);
                insert.setInt(2, 1 + n % 20);
                insert.setInt(3, n);
                insert.addBatch();
            }
            tell(name + " batch", insert.executeBatch().length);
            int keys = 0;
            try (ResultSet rows = insert.getGeneratedKeys()) {
                while (rows.next()) {
                    ++keys;
                }
            }
            tell(name + " keys", keys);
        }
        if (!connection.getAutoCommit()) {
            connection.commit();
        }
        tell(name + " orders", all(connection, "select count(*), sum(amount) from orders where tenant = '" + name + "'"));
    }

    static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(3); // a portal that is suspended
            List<String> seen = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery("select id from products order by id")) {
                while (rows.next()) {
                    seen.add(rows.getString(1));
                }
            }
            tell("fetched", seen);
            Savepoint point = connection.setSavepoint("point");
            refused("check", () -> statement.executeUpdate("insert into orders (tenant, product, amount) values ('x', 1, -1)"));
            connection.rollback(point);
            statement.execute("set role shop_reader");
            tell("reader", all(connection, IDENTITY));
            connection.rollback();
            tell("rolled back", all(connection, IDENTITY));
            connection.commit();
        }
        for (int level : new int[] {Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_REPEATABLE_READ,
                                    Connection.TRANSACTION_READ_COMMITTED}) {
            connection.setTransactionIsolation(level);
            for (int n = 0; n < 2; ++n) {
                tell("isolation", connection.getTransactionIsolation() + all(connection, "show transaction_isolation"));
                connection.commit();
            }
        }
        connection.setReadOnly(true);
        refused("read only", () -> connection.createStatement().executeUpdate("delete from orders"));
        connection.rollback();
        connection.setReadOnly(false);
        connection.setAutoCommit(true);
    }

    static void extras(Connection connection) throws Exception {
        DatabaseMetaData about = connection.getMetaData();
        List<String> seen = new ArrayList<>();
        try (ResultSet rows = about.getTables(null, "shop", "%", new String[] {"TABLE", "VIEW"})) {
            while (rows.next()) {
                seen.add(rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"));
            }
        }
        try (ResultSet rows = about.getColumns(null, "shop", "products", "%")) {
            while (rows.next()) {
                seen.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
            }
        }
        tell("metadata", seen);
        PGConnection own = connection.unwrap(PGConnection.class);
        tell("copied", own.getCopyAPI().copyIn("copy products (name, price) from stdin", new StringReader("jdbc a\t1\njdbc b\t2\n")));
        StringWriter out = new StringWriter();
        own.getCopyAPI().copyOut("copy (select name from products where id > 20 order by name) to stdout", out);
        tell("copied out", out.toString().replace("\n", ";"));
        try (CallableStatement call = connection.prepareCall("{? = call shop.total(?)}")) {
            call.registerOutParameter(1, Types.BIGINT);
            call.setInt(2, 5);
            call.execute();
            tell("call", call.getLong(1));
        }
        connection.createStatement().execute("listen told");
        try (Connection other = connect()) {
            other.createStatement().execute("notify told, 'by another'");
        }
        PGNotification[] heard = own.getNotifications(10000);
        tell("heard", heard == null ? null : heard[0].getName() + " " + heard[0].getParameter());
        connection.createStatement().execute("unlisten told");
        tell("valid", connection.isValid(5));
        try (Statement held = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY,
                                                         ResultSet.HOLD_CURSORS_OVER_COMMIT);
             ResultSet rows = held.executeQuery("select id from products order by id")) {
            rows.absolute(7);
            tell("scrolled", rows.getInt(1));
        }
    }

    // A table gets another column under a statement that has a name by now, and whose rows have been described.
    static void altered(String name, Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("drop table if exists shop.altered");
            statement.execute("create table shop.altered as select 7 as a");
            commit(connection);
            try (PreparedStatement rows = connection.prepareStatement("select * from shop.altered")) {
                for (int n = 0; n < 8; ++n) {
                    if (n == 6) {
                        statement.execute("alter table shop.altered add column b text default 'added'");
                        commit(connection);
                    }
                    try (ResultSet got = rows.executeQuery()) {
                        got.next();
                        tell(name + " altered", row(got));
                    } catch (SQLException error) {
                        tell(name + " altered", error.getSQLState());
                        connection.rollback();
                    }
                    commit(connection);
                }
            }
        }
    }

    static void commit(Connection connection) throws SQLException {
        if (!connection.getAutoCommit()) {
            connection.commit();
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect("ApplicationName", "java", "options", "-c search_path=shop,public")) {
            tell("at first", all(connection, IDENTITY));
            prepared("autocommit", connection);
            altered("autocommit", connection);
            transactions(connection);
            extras(connection);
            tell("at last", all(connection, IDENTITY));
        }
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            prepared("transactions", connection);
            altered("transactions", connection);
        }
        try (Connection connection = connect("autosave", "always", "prepareThreshold", "1")) {
            connection.setAutoCommit(false);
            prepared("autosave", connection);
            altered("autosave", connection);
        }
        try (Connection connection = connect("preferQueryMode", "simple")) {
            prepared("simple", connection);
        }
    }
}
