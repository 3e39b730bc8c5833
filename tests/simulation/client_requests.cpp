// What fake clients send. See fake_client.hpp.
#include "tests/simulation/fake_client.hpp"

#include "protocol/startup.hpp"

namespace pgweir::simulation {

namespace {

/// A connection that carries a CancelRequest, until the other end closes it.
struct cancel_carrier final : socket_user {
    cancel_carrier(network::end_ptr end_, std::string request_, world& shared_,
                   const client_rules& rules_, std::string tag_)
        : end(std::move(end_))
        , request(std::move(request_))
        , shared(shared_)
        , rules(rules_)
        , tag(std::move(tag_)) {
        end->set_user(this);
        on_room();
    }
    ~cancel_carrier() { end->close(); }
    void on_arrival() override {
        if (!end->readable().empty()) {
            // At shutdown one that has not come to its request yet is told like any other.
            if (!rules.shutting_down) {
                shared.violation("a cancel request of " + tag + " was answered with bytes");
            }
            end->take(end->readable().size());
        }
        if (end->at_end()) {
            end->close();
        }
    }
    void on_room() override {
        request.erase(0, end->send(request));
        if (!request.empty() && !end->broken()) {
            end->wait_room();
        }
    }
    network::end_ptr end;
    std::string request;
    world& shared;
    const client_rules& rules;
    std::string tag;
};

} // namespace

void fake_client::add(char type, std::string body) {
    std::string out;
    message m{type, std::move(body)};
    append(out, m);
    shared_.trace(plan_.number, "client>",
                  [&] { return tag_ + " sends " + m.type + ' ' + request_of(m); });
    units_.push_back({std::move(m), shared_.time.now()});
    look_ahead();
    out_ += out;
}

std::string fake_client::ids() { return " tag=" + tag_ + " n=" + std::to_string(++nonce_); }

std::string fake_client::select() {
    return shared_.random.chance(10) ? "SELECT lastval()" + ids() : select_row();
}

std::string fake_client::select_row() {
    auto& random = shared_.random;
    auto sql = "SELECT row" + ids();
    const bool bulk = rules_.bulk && random.chance(20);
    sql += " rows=" + std::to_string(bulk ? random.between(1, 60) : random.below(4));
    if (bulk) {
        sql += " size=" + std::to_string(random.between(1, 20'000));
    }
    if (rules_.slow_statement_ms != 0 && random.chance(rules_.slow_percent)) {
        sql += " ms=" + std::to_string(random.between(1, rules_.slow_statement_ms));
    } else if (random.chance(30)) {
        sql += " ms=" + std::to_string(random.between(1, 5));
    }
    return sql;
}

std::string fake_client::insert() {
    auto sql = "INSERT" + ids();
    return shared_.random.chance(20) ? sql + " ms=2" : sql;
}

std::string fake_client::failing() { return "FAIL" + ids(); }

void fake_client::query(std::string_view sql) { add('Q', std::string(sql) + '\0'); }

void fake_client::parse(std::string_view name, std::string_view sql) {
    add('P', std::string(name) + '\0' + std::string(sql) + '\0' + std::string(2, '\0'));
}

void fake_client::bind(std::string_view portal, std::string_view statement) {
    add('B', std::string(portal) + '\0' + std::string(statement) + '\0' + std::string(6, '\0'));
}

void fake_client::execute(std::uint32_t limit) {
    add('E', std::string(1, '\0') + std::string(3, '\0') + static_cast<char>(limit));
}

void fake_client::sync() {
    must_sync_ = false;
    add('S', {});
    pump_out();
}

/// Named statements: made, used in this batch and in later ones, closed, made again under a name
/// that is taken, with errors in between.
void fake_client::send_named_statements() {
    auto& random = shared_.random;
    for (auto left = random.between(1, 6); left != 0; --left) {
        const std::string name = random.chance(60) ? "s" : random.chance(50) ? "t" : "pgw_t";
        switch (random.below(6)) {
        case 0:
            parse(name, random.chance(20) ? "FAIL PARSE" + ids() : select());
            break;
        case 1: // the same text as others have
            parse(name, "SELECT row tag=everybody n=1 rows=2");
            break;
        case 2:
            add('C', "S" + name + '\0');
            break;
        case 3:
            add('D', "S" + name + '\0');
            break;
        default:
            bind("", name);
            execute();
            break;
        }
        if (random.chance(30)) {
            sync();
        }
    }
    sync();
}

/// What leaves something behind in the session.
void fake_client::send_session_state() {
    auto& random = shared_.random;
    const bool plain = plan_.at_start.empty();
    switch (random.below(plain ? 9 : 7)) {
    case 0:
        query(random.chance(70)   ? "SET custom.x = 'of " + tag_ + "'"
              : random.chance(60) ? "SET idle_session_timeout = '300ms'"
                                  : "SET idle_session_timeout = '0'");
        break;
    case 1:
        query("SET timezone = 'Zone/" + tag_ + "'");
        break;
    case 2:
        query((random.chance(50) ? "LISTEN ch" : "UNLISTEN ch") + ids());
        break;
    case 3:
        query((random.chance(50) ? "CREATE TEMP TABLE t" : "DROP TABLE t") + ids());
        break;
    case 4:
        if (random.chance(20)) {
            query("CREATE OR REPLACE FUNCTION hidden_lock() RETURNS void LANGUAGE plpgsql AS"
                  " 'begin perform pg_advisory_lock(7); end'" +
                  ids());
            break;
        }
        query((random.chance(33)   ? "SELECT hidden_lock()"
               : random.chance(50) ? "SELECT pg_advisory_lock(7)"
                                   : "SELECT pg_advisory_unlock(7)") +
              ids() + " rows=1");
        break;
    case 5:
        send_named_statements();
        break;
    case 6: // an unnamed statement, bound in another batch
        if (!unnamed_) {
            parse("", select());
            sync();
        } else {
            bind("", "");
            execute();
            sync();
        }
        unnamed_ = !unnamed_;
        break;
    case 7:
        query("RESET ALL");
        break;
    default:
        query("DISCARD ALL");
        unnamed_ = false;
        break;
    }
}

void fake_client::send_extended_variant(std::uint64_t which) {
    auto& random = shared_.random;
    switch (which) {
    case 0: // one statement, described
        parse("", random.chance(50) ? select() : insert());
        add('D', std::string("S") + '\0');
        bind("", "");
        add('D', std::string("P") + '\0');
        execute();
        break;
    case 1: // several in one transaction, one of which may fail
        for (auto left = random.between(2, 4); left != 0; --left) {
            parse("", random.chance(20) ? failing() : random.chance(50) ? insert() : select());
            bind("", "");
            execute();
        }
        break;
    case 2: // an error before anything runs
        parse("", random.chance(50) ? "FAIL PARSE" + ids() : select());
        bind("", random.chance(50) ? "no_such_statement" : "");
        execute();
        add('C', std::string("P") + '\0');
        break;
    case 3: // a part of the rows at a time
        parse("", "SELECT row" + ids() + " rows=5");
        bind("", "");
        execute(2);
        execute(2);
        execute(random.chance(50) ? 0 : 2);
        break;
    case 4: // transaction control
        if (!rules_.statement_mode) {
            const bool idle = model_.status() == protocol::transaction_status::idle;
            parse("", (idle ? "BEGIN" : "COMMIT") + ids());
            bind("", "");
            execute();
        }
        break;
    default: // COPY
        parse("", "COPY t TO STDOUT" + ids() + " rows=3");
        bind("", "");
        execute();
        break;
    }
}

void fake_client::send_extended() {
    auto& random = shared_.random;
    unnamed_ = false;
    if (must_sync_) {
        sync();
        return;
    }
    // Several batches pipelined, each with its Sync.
    for (auto batches = random.chance(20) ? random.between(2, 4) : 1; batches != 0; --batches) {
        send_extended_variant(random.below(6));
        if (batches == 1 && random.chance(10)) {
            add('H', {});
            must_sync_ = true; // in a later request
        } else {
            add('S', {});
        }
    }
}

void fake_client::send_copy_in() {
    query("COPY t FROM STDIN" + ids());
    for (auto left = shared_.random.below(4); left != 0; --left) {
        add('d', std::string(shared_.random.below(300), 'x') + '\n');
    }
    if (shared_.random.chance(80)) {
        add('c', {});
    } else {
        add('f', std::string("no more") + '\0');
    }
}

void fake_client::send_garbage() {
    garbage_sent_ = true;
    shared_.fault("");
    shared_.trace(plan_.number, "garbage", [&] { return tag_ + " sends garbage"; });
    switch (shared_.random.below(3)) {
    case 0:
        out_ += std::string("Q\xff\xff\xff\xff garbage", 13);
        break;
    case 1:
        out_ += std::string("?\0\0\0\4", 5);
        break;
    default:
        out_ += std::string("S\0\0\0\0", 5);
        break;
    }
}

void fake_client::send_cancel(bool right_key) {
    if (key_.empty()) {
        return;
    }
    std::string request;
    auto key = key_;
    if (!right_key) {
        key.back() = static_cast<char>(key.back() ^ 1);
    } else {
        cancel_asked_ = true;
    }
    protocol::message_writer(request)
        .begin_untyped()
        .u32(protocol::cancel_request_code)
        .raw(key)
        .end();
    shared_.trace(plan_.number, "cancel>", [&] { return tag_ + " asks for a cancel"; });
    auto ends = network_.connect();
    rules_.accept(ends[1]);
    carriers_.push_back(std::make_shared<cancel_carrier>(ends[0], request, shared_, rules_, tag_));
}

void fake_client::send_request() {
    auto& random = shared_.random;
    if (plan_.console) {
        std::string out;
        protocol::append_query(out, "SHOW POOLS");
        ++console_owed_;
        put(out);
        return;
    }
    const auto status = model_.status();
    const bool idle = status == protocol::transaction_status::idle;
    if (must_sync_) {
        sync();
    } else if (plan_.sends_garbage && requests_left_ == 0) {
        send_garbage();
    } else if (random.chance(plan_.session_state_percent)) {
        send_session_state();
    } else if (!idle && random.chance(50)) {
        query((random.chance(70) ? "COMMIT" : "ROLLBACK") + ids());
    } else if (idle && random.chance(25) && (!rules_.statement_mode || random.chance(2))) {
        began_ = true;
        query("BEGIN" + ids());
        if (random.chance(30)) { // the whole transaction at once
            query(insert());
            query(random.chance(20) ? failing() : select());
            query("COMMIT" + ids());
        } else if (random.chance(10)) {
            query("SET LOCAL custom.y = 'local'");
        }
    } else {
        switch (random.below(12)) {
        case 0:
        case 1:
        case 2:
            query(select());
            break;
        case 3:
        case 4:
            query(insert());
            break;
        case 5:
            query(insert() + "; " + select_row() + "; " +
                  (random.chance(30) ? failing() : insert()));
            break;
        case 6:
            query(random.chance(50) ? failing() : "");
            break;
        case 7:
            send_copy_in();
            break;
        case 8:
            query("COPY t TO STDOUT" + ids() + " rows=" + std::to_string(random.below(5)));
            break;
        case 9:
            add('F', std::string(4, '\1') + std::string(6, '\0'));
            break;
        default:
            send_extended();
            break;
        }
    }
    pump_out();
    maybe_cancel();
}

void fake_client::maybe_cancel() {
    auto& random = shared_.random;
    if (random.chance(plan_.cancel_percent)) {
        const bool right = random.chance(80);
        shared_.time.after(random.between(duration(0), milliseconds(random.chance(50) ? 3 : 30)),
                           [self = self_, right] {
                               if (*self != nullptr && (*self)->phase_ == phase::ready) {
                                   (*self)->send_cancel(right);
                               }
                           });
    }
}

} // namespace pgweir::simulation
