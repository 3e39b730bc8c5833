// What only libpq can do, played twice: straight to PostgreSQL and through the daemon. Each script
// writes down everything the driver told it; both records must be the same, word for word, and the
// checks inside make sure that the script went where it was meant to go.
//
// Owner: the test program. Thread: main. Run by integration/libpq_test.py,
// which says where both are (PGWEIR_DIRECT, PGWEIR_POOLED: libpq's conninfo strings).
#include <doctest/doctest.h>

#include <libpq-fe.h>
#include <libpq/libpq-fs.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using result_ptr = std::unique_ptr<PGresult, decltype(&PQclear)>;

result_ptr owned(PGresult* result) { return {result, PQclear}; }

std::string text_or_none(const char* text) { return text != nullptr ? text : "(none)"; }

std::string hexadecimal(const char* bytes, int length) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (int i = 0; i < length; ++i) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        out += digits[byte >> 4U];
        out += digits[byte & 0xfU];
    }
    return out;
}

// One connection, and the record of what it said.
class session {
public:
    explicit session(const char* variable)
        : connection_(PQconnectdb(conninfo(variable)), PQfinish) {
        INFO(PQerrorMessage(get()));
        REQUIRE(PQstatus(get()) == CONNECTION_OK);
        PQsetNoticeReceiver(get(), take_notice, this);
    }
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    [[nodiscard]] PGconn* get() const { return connection_.get(); }
    [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }

    void note(std::string line) { lines_.push_back(std::move(line)); }

    /// Everything a result says, row by row.
    void note(const PGresult* result) {
        if (result == nullptr) {
            note(std::string("no more results"));
            return;
        }
        std::string line = PQresStatus(PQresultStatus(result));
        line += " [" + text_or_none(PQcmdStatus(const_cast<PGresult*>(result))) + "]";
        for (const int field : {PG_DIAG_SEVERITY_NONLOCALIZED, PG_DIAG_SQLSTATE,
                                PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL, PG_DIAG_CONTEXT,
                                PG_DIAG_STATEMENT_POSITION, PG_DIAG_SOURCE_FUNCTION}) {
            if (const char* text = PQresultErrorField(result, field); text != nullptr) {
                line += std::string(" ") + static_cast<char>(field) + "=" + text;
            }
        }
        note(std::move(line));
        note_columns(result);
        note_rows(result);
    }

    /// The status of what was noted, so that scripts can check that they are where they think.
    ExecStatusType run(const char* sql) { return take(PQexec(get(), sql)); }
    ExecStatusType take(PGresult* result) {
        const auto kept = owned(result);
        note(kept.get());
        return PQresultStatus(kept.get());
    }
    /// The next result of an asynchronous command.
    ExecStatusType next() { return take(PQgetResult(get())); }
    bool finished() {
        const auto kept = owned(PQgetResult(get()));
        note(kept.get());
        return kept == nullptr;
    }
    /// All results up to the end of the command; the last one's status.
    ExecStatusType drain() {
        auto last = PGRES_EMPTY_QUERY;
        while (auto* const result = PQgetResult(get())) {
            last = take(result);
        }
        return last;
    }

private:
    static const char* conninfo(const char* variable) {
        const char* const text = std::getenv(variable);
        REQUIRE_MESSAGE(text != nullptr, "not set: ", variable);
        return text;
    }

    static void take_notice(void* self, const PGresult* notice) {
        auto& here = *static_cast<session*>(self);
        here.note("notice:");
        here.note(notice);
    }

    void note_columns(const PGresult* result) {
        if (const int parameters = PQnparams(result); parameters != 0) {
            std::string line = "parameters:";
            for (int i = 0; i < parameters; ++i) {
                line += " " + std::to_string(PQparamtype(result, i));
            }
            note(std::move(line));
        }
        for (int column = 0; column < PQnfields(result); ++column) {
            note("column " + text_or_none(PQfname(result, column)) + " type " +
                 std::to_string(PQftype(result, column)) + " size " +
                 std::to_string(PQfsize(result, column)) + " modifier " +
                 std::to_string(PQfmod(result, column)) + " format " +
                 std::to_string(PQfformat(result, column)));
        }
    }

    void note_rows(const PGresult* result) {
        for (int row = 0; row < PQntuples(result); ++row) {
            std::string line = "row";
            for (int column = 0; column < PQnfields(result); ++column) {
                const char* const value = PQgetvalue(result, row, column);
                const int length = PQgetlength(result, row, column);
                line += " ";
                if (PQgetisnull(result, row, column) != 0) {
                    line += "null";
                } else if (PQfformat(result, column) == 1) {
                    line += "0x" + hexadecimal(value, length);
                } else {
                    line += std::string(value, static_cast<std::size_t>(length));
                }
            }
            note(std::move(line));
        }
    }

    std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
    std::vector<std::string> lines_;
};

/// Plays `script` on both and compares, line by line.
void same_on_both(const std::function<void(session&)>& script) {
    std::vector<std::string> records[2];
    std::size_t which = 0;
    for (const char* variable : {"PGWEIR_DIRECT", "PGWEIR_POOLED"}) {
        CAPTURE(variable);
        session s(variable);
        script(s);
        CHECK(PQtransactionStatus(s.get()) == PQTRANS_IDLE);
        CHECK(s.run("select 'still here'") == PGRES_TUPLES_OK);
        records[which++] = s.lines();
    }
    for (std::size_t i = 0; i < records[0].size() && i < records[1].size(); ++i) {
        CAPTURE(i);
        REQUIRE(records[0][i] == records[1][i]);
    }
    CHECK(records[0].size() == records[1].size());
}

int send_in_pipeline(session& s, const char* sql) {
    return PQsendQueryParams(s.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 0);
}

/// Four bytes, big end first, as PostgreSQL sends an int4.
std::string int4(std::uint32_t value) {
    return {static_cast<char>(value >> 24U), static_cast<char>(value >> 16U),
            static_cast<char>(value >> 8U), static_cast<char>(value)};
}

} // namespace

TEST_CASE("what the server says of itself") {
    same_on_both([](session& s) {
        CHECK(PQprotocolVersion(s.get()) == 3);
        s.note(std::to_string(PQserverVersion(s.get())));
        for (const char* name :
             {"server_version", "server_encoding", "client_encoding", "application_name",
              "default_transaction_read_only", "in_hot_standby", "is_superuser",
              "session_authorization", "DateStyle", "IntervalStyle", "TimeZone",
              "integer_datetimes", "standard_conforming_strings", "no_such_parameter"}) {
            s.note(std::string(name) + "=" + text_or_none(PQparameterStatus(s.get(), name)));
        }
        // A change is told, and so is its end.
        s.run("set datestyle to german");
        s.note(text_or_none(PQparameterStatus(s.get(), "DateStyle")));
        s.run("select date '2026-01-31'");
        s.run("begin; set local datestyle to 'sql, dmy'");
        s.note(text_or_none(PQparameterStatus(s.get(), "DateStyle")));
        s.run("rollback");
        s.note(text_or_none(PQparameterStatus(s.get(), "DateStyle")));
        CHECK(PQsetClientEncoding(s.get(), "LATIN1") == 0);
        s.note(text_or_none(PQparameterStatus(s.get(), "client_encoding")));
        s.run("select 'gr\xfc\xdf'");
        s.run("reset datestyle");
        s.note(text_or_none(PQparameterStatus(s.get(), "DateStyle")));
    });
}

TEST_CASE("pipeline with an error in the middle and several syncs") {
    same_on_both([](session& s) {
        REQUIRE(PQenterPipelineMode(s.get()) == 1);
        send_in_pipeline(s, "select 1");
        send_in_pipeline(s, "select 1/0");
        send_in_pipeline(s, "select 'skipped'");
        PQpipelineSync(s.get());
        send_in_pipeline(s, "select 'after'");
        PQpipelineSync(s.get());
        PQpipelineSync(s.get()); // with nothing before it
        send_in_pipeline(s, "select from no_such_table");
        PQpipelineSync(s.get());
        send_in_pipeline(s, "select 'last'");
        PQpipelineSync(s.get());

        CHECK(s.next() == PGRES_TUPLES_OK);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_FATAL_ERROR);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_PIPELINE_ABORTED);
        CHECK(PQpipelineStatus(s.get()) == PQ_PIPELINE_ABORTED);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(PQpipelineStatus(s.get()) == PQ_PIPELINE_ON);
        CHECK(s.next() == PGRES_TUPLES_OK);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(s.next() == PGRES_FATAL_ERROR);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(s.next() == PGRES_TUPLES_OK);
        CHECK(s.finished());
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(s.finished());
        CHECK(PQexitPipelineMode(s.get()) == 1);
    });
}

TEST_CASE("pipeline: an error undoes all since the last sync; prepared in the pipeline") {
    same_on_both([](session& s) {
        s.run("drop table if exists pipelined; create table pipelined (a int primary key)");
        REQUIRE(PQenterPipelineMode(s.get()) == 1);
        PQsendPrepare(s.get(), "insertion", "insert into pipelined values ($1)", 0, nullptr);
        PQsendDescribePrepared(s.get(), "insertion");
        for (const char* value : {"1", "2", "1", "3"}) {
            const char* const values[] = {value};
            PQsendQueryPrepared(s.get(), "insertion", 1, values, nullptr, nullptr, 0);
        }
        PQpipelineSync(s.get());
        const char* const values[] = {"4"};
        PQsendQueryPrepared(s.get(), "insertion", 1, values, nullptr, nullptr, 0);
        PQpipelineSync(s.get());
        for (int syncs = 0; syncs < 2;) {
            syncs += s.next() == PGRES_PIPELINE_SYNC ? 1 : 0;
        }
        CHECK(PQexitPipelineMode(s.get()) == 1);
        s.run("select a from pipelined order by a");
        CHECK(s.lines().back() == "row 4");
        s.run("drop table pipelined");
    });
}

TEST_CASE("pipeline with flush requests") {
    same_on_both([](session& s) {
        REQUIRE(PQenterPipelineMode(s.get()) == 1);
        for (int i = 0; i < 20; ++i) {
            send_in_pipeline(s, "select txid_current_if_assigned() is null");
            PQsendFlushRequest(s.get());
            PQflush(s.get());
            CHECK(s.next() == PGRES_TUPLES_OK); // before any sync
            CHECK(s.finished());
        }
        PQpipelineSync(s.get());
        CHECK(s.next() == PGRES_PIPELINE_SYNC);
        CHECK(PQexitPipelineMode(s.get()) == 1);
    });
}

TEST_CASE("single-row mode, with an error after some rows") {
    same_on_both([](session& s) {
        for (const char* sql :
             {"select i, repeat('x', i) from generate_series(1, 50) i",
              "select 10 / (5 - i) from generate_series(1, 50) i", "select 1 where false"}) {
            REQUIRE(PQsendQuery(s.get(), sql) == 1);
            REQUIRE(PQsetSingleRowMode(s.get()) == 1);
            s.drain();
        }
    });
}

TEST_CASE("prepared statements and their description") {
    same_on_both([](session& s) {
        const Oid types[] = {23, 0};
        CHECK(s.take(PQprepare(s.get(), "sum", "select $1 + 1 as a, $2::text as b", 2, types)) ==
              PGRES_COMMAND_OK);
        CHECK(s.take(PQdescribePrepared(s.get(), "sum")) == PGRES_COMMAND_OK);
        const char* const values[] = {"41", nullptr};
        for (int i = 0; i < 3; ++i) {
            CHECK(s.take(PQexecPrepared(s.get(), "sum", 2, values, nullptr, nullptr, 0)) ==
                  PGRES_TUPLES_OK);
        }
        CHECK(s.take(PQprepare(s.get(), "sum", "select 2", 0, nullptr)) == PGRES_FATAL_ERROR);
        CHECK(s.take(PQprepare(s.get(), "wrong", "selec 2", 0, nullptr)) == PGRES_FATAL_ERROR);
        CHECK(s.take(PQdescribePrepared(s.get(), "wrong")) == PGRES_FATAL_ERROR);
        CHECK(s.take(PQexecPrepared(s.get(), "nobody", 0, nullptr, nullptr, nullptr, 0)) ==
              PGRES_FATAL_ERROR);
        const char* const unreadable[] = {"forty", nullptr};
        CHECK(s.take(PQexecPrepared(s.get(), "sum", 2, unreadable, nullptr, nullptr, 0)) ==
              PGRES_FATAL_ERROR);
        CHECK(s.take(PQexecPrepared(s.get(), "sum", 1, values, nullptr, nullptr, 0)) ==
              PGRES_FATAL_ERROR);
        CHECK(s.take(PQexecPrepared(s.get(), "sum", 2, values, nullptr, nullptr, 1)) ==
              PGRES_TUPLES_OK);
        CHECK(s.take(PQprepare(s.get(), "", "select $1::int8", 0, nullptr)) == PGRES_COMMAND_OK);
        CHECK(s.take(PQdescribePrepared(s.get(), "")) == PGRES_COMMAND_OK);
        CHECK(s.take(PQexecPrepared(s.get(), "", 1, values, nullptr, nullptr, 0)) ==
              PGRES_TUPLES_OK);
    });
}

TEST_CASE("binary parameters and results") {
    same_on_both([](session& s) {
        const std::string number = int4(0xfffffffeU);
        const std::string bytes("\0\1\377'\\", 5);
        const Oid types[] = {23, 17, 25};
        const char* const values[] = {number.data(), bytes.data(), "text"};
        const int lengths[] = {4, 5, 0};
        const int formats[] = {1, 1, 0};
        for (const int format : {0, 1}) {
            CHECK(s.take(PQexecParams(s.get(), "select $1 * 2, $2, $3, null::int, ''", 3, types,
                                      values, lengths, formats, format)) == PGRES_TUPLES_OK);
        }
        const int short_lengths[] = {3, 5, 0};
        CHECK(s.take(PQexecParams(s.get(), "select $1, $2, $3", 3, types, values, short_lengths,
                                  formats, 1)) == PGRES_FATAL_ERROR);
        const std::string large(3'000'000, 'z');
        const char* const large_values[] = {large.data()};
        const int large_lengths[] = {static_cast<int>(large.size())};
        CHECK(s.take(PQexecParams(s.get(), "select length($1), md5($1)", 1, &types[1], large_values,
                                  large_lengths, formats, 0)) == PGRES_TUPLES_OK);
        CHECK(s.take(PQexecParams(s.get(), "select $1", 1, &types[1], large_values, large_lengths,
                                  formats, 1)) == PGRES_TUPLES_OK);
    });
}

TEST_CASE("COPY in: taken, refused by the client, refused by the server") {
    same_on_both([](session& s) {
        s.run("begin; create temp table copied (a int, b text) on commit drop");
        CHECK(s.run("copy copied from stdin") == PGRES_COPY_IN);
        for (int i = 0; i < 5000; ++i) {
            const auto line = std::to_string(i) + "\tsome text\n";
            REQUIRE(PQputCopyData(s.get(), line.data(), static_cast<int>(line.size())) == 1);
        }
        CHECK(PQputCopyEnd(s.get(), nullptr) == 1);
        CHECK(s.drain() == PGRES_COMMAND_OK);
        s.run("savepoint before");
        CHECK(s.run("copy copied from stdin") == PGRES_COPY_IN);
        CHECK(PQputCopyData(s.get(), "1\tone\n", 6) == 1);
        CHECK(PQputCopyEnd(s.get(), "the client thought better of it") == 1);
        CHECK(s.drain() == PGRES_FATAL_ERROR);
        s.run("rollback to before");
        CHECK(s.run("copy copied from stdin") == PGRES_COPY_IN);
        CHECK(PQputCopyData(s.get(), "one\tone\n", 8) == 1);
        CHECK(PQputCopyData(s.get(), "2\ttwo\n", 6) == 1);
        CHECK(PQputCopyEnd(s.get(), nullptr) == 1);
        CHECK(s.drain() == PGRES_FATAL_ERROR);
        s.run("rollback to before");
        CHECK(s.run("select count(*), sum(a) from copied") == PGRES_TUPLES_OK);
        CHECK(s.lines().back() == "row 5000 12497500");
        CHECK(s.run("commit") == PGRES_COMMAND_OK);
    });
}

TEST_CASE("COPY in with the extended protocol, after which the next one works") {
    same_on_both([](session& s) {
        s.run("drop table if exists imported; create table imported (a int)");
        for (const char* data : {"1\n2\n", "x\n", "3\n"}) {
            CHECK(s.take(PQexecParams(s.get(), "copy imported from stdin", 0, nullptr, nullptr,
                                      nullptr, nullptr, 0)) == PGRES_COPY_IN);
            PQputCopyData(s.get(), data, static_cast<int>(std::string_view(data).size()));
            PQputCopyEnd(s.get(), nullptr);
            s.drain();
        }
        s.run("select a from imported order by a");
        CHECK(s.lines().back() == "row 3");
        s.run("drop table imported");
    });
}

TEST_CASE("COPY out, as text and binary, and with an error half-way") {
    same_on_both([](session& s) {
        for (const char* sql :
             {"copy (select i, repeat('y', i % 50) from generate_series(1, 3000) i) to stdout",
              "copy (select i::int8 from generate_series(1, 300) i) to stdout (format binary)",
              "copy (select 10 / (2000 - i) from generate_series(1, 3000) i) to stdout"}) {
            REQUIRE(s.run(sql) == PGRES_COPY_OUT);
            char* row = nullptr;
            int length = 0;
            while ((length = PQgetCopyData(s.get(), &row, 0)) > 0) {
                s.note("data " + hexadecimal(row, length));
                PQfreemem(row);
            }
            s.note(std::to_string(length));
            s.drain();
        }
    });
}

TEST_CASE("cancelling a query that runs") {
    same_on_both([](session& s) {
        const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> handle(PQgetCancel(s.get()),
                                                                        PQfreeCancel);
        REQUIRE(handle != nullptr);
        s.run("begin");
        for (int i = 0; i < 3; ++i) {
            s.run("savepoint here");
            // The first row tells that the query runs: its end leaves PostgreSQL's buffer with the
            // second row, and the third one never comes.
            REQUIRE(PQsendQuery(s.get(), "select repeat('w', 20000),"
                                         " case when i > 2 then pg_sleep(60)::text end"
                                         " from generate_series(1, 3) i") == 1);
            REQUIRE(PQsetSingleRowMode(s.get()) == 1);
            CHECK(s.next() == PGRES_SINGLE_TUPLE);
            char words[256] = "";
            CHECK(PQcancel(handle.get(), words, sizeof(words)) == 1);
            CHECK(s.drain() == PGRES_FATAL_ERROR);
            CHECK(s.lines().back().find("57014") != std::string::npos);
            s.run("rollback to here");
        }
        s.run("commit");
    });
}

TEST_CASE("notices") {
    same_on_both([](session& s) {
        s.run("drop table if exists never_was");
        s.run("do $$ begin raise notice 'one'; raise warning 'two' using detail = 'three', "
              "hint = 'four'; raise info 'five'; end $$");
        s.run("set client_min_messages to error");
        s.run("do $$ begin raise warning 'not to be seen'; end $$");
        s.run("commit"); // warns that there is no transaction, but nobody wants to know
        s.run("reset client_min_messages");
        s.run("commit");
        CHECK(s.lines().back().find("COMMIT") != std::string::npos);
    });
}

TEST_CASE("NOTIFY to oneself") {
    same_on_both([](session& s) {
        // LISTEN and NOTIFY in one transaction: the notification comes with its COMMIT.
        CHECK(s.run("begin") == PGRES_COMMAND_OK);
        CHECK(s.run("listen corners") == PGRES_COMMAND_OK);
        CHECK(s.run("notify corners, 'hello'") == PGRES_COMMAND_OK);
        CHECK(PQnotifies(s.get()) == nullptr);
        CHECK(s.run("commit") == PGRES_COMMAND_OK);
        int seen = 0;
        while (PGnotify* const notification = PQnotifies(s.get())) {
            s.note(std::string(notification->relname) + ": " + notification->extra);
            PQfreemem(notification);
            ++seen;
        }
        CHECK(seen == 1);
    });
}

TEST_CASE("large objects") {
    same_on_both([](session& s) {
        s.run("begin");
        const Oid object = lo_create(s.get(), 0);
        REQUIRE(object != 0);
        const int descriptor = lo_open(s.get(), object, INV_READ | INV_WRITE);
        REQUIRE(descriptor >= 0);
        std::string content(100'000, 'o');
        content[5] = '\0';
        CHECK(lo_write(s.get(), descriptor, content.data(), content.size()) == 100'000);
        CHECK(lo_lseek(s.get(), descriptor, 0, SEEK_SET) == 0);
        std::string back(content.size(), ' ');
        CHECK(lo_read(s.get(), descriptor, back.data(), back.size()) == 100'000);
        CHECK(back == content);
        CHECK(lo_truncate(s.get(), descriptor, 10) == 0);
        CHECK(lo_lseek(s.get(), descriptor, 0, SEEK_END) == 10);
        CHECK(lo_close(s.get(), descriptor) == 0);
        CHECK(lo_unlink(s.get(), object) == 1);
        s.run("commit");
        CHECK(lo_unlink(s.get(), object) == -1); // gone; its number is not the same on both
    });
}

TEST_CASE("a function call without SQL") {
    same_on_both([](session& s) {
        // 177 is int4pl, since ever.
        for (const int length : {4, 3}) {
            PQArgBlock arguments[2] = {};
            arguments[0].len = length;
            arguments[0].u.integer = 40;
            const std::string odd(3, 'x');
            std::string even = int4(40);
            arguments[0].isint = length == 4 ? 1 : 0;
            if (length != 4) {
                even = odd;
                arguments[0].u.ptr = reinterpret_cast<int*>(even.data());
            }
            arguments[1].len = 4;
            arguments[1].isint = 1;
            arguments[1].u.integer = 2;
            int sum = 0;
            int sum_length = 0;
            const auto status = s.take(PQfn(s.get(), 177, &sum, &sum_length, 1, arguments, 2));
            CHECK(status == (length == 4 ? PGRES_COMMAND_OK : PGRES_FATAL_ERROR));
            s.note(std::to_string(sum) + " in " + std::to_string(sum_length));
        }
    });
}

TEST_CASE("empty queries and several statements in one") {
    same_on_both([](session& s) {
        for (const char* sql :
             {"", " ", ";", ";;", "-- nothing", "select 1; select 2; select 3", "select 1;; ;",
              "select 1; select 1/0; select 'never'", "select 1; selec 2",
              "begin; select 1; commit", "begin; select 1/0; commit", "rollback",
              "begin; select 1; commit; select 2; begin; select 3; rollback"}) {
            REQUIRE(PQsendQuery(s.get(), sql) == 1);
            s.drain();
            s.note(std::to_string(PQtransactionStatus(s.get())));
        }
        CHECK(s.take(PQexecParams(s.get(), "", 0, nullptr, nullptr, nullptr, nullptr, 0)) ==
              PGRES_EMPTY_QUERY);
        CHECK(s.take(PQexecParams(s.get(), "select 1; select 2", 0, nullptr, nullptr, nullptr,
                                  nullptr, 0)) == PGRES_FATAL_ERROR);
    });
}
