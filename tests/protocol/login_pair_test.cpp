// client_login against server_login, back to back: both ends of PostgreSQL's login, each checked by
// the other. All methods, all stored forms, right and wrong passwords, split in every way.
#include "tests/protocol/login_script.hpp"

using namespace login_script;
using namespace std::string_literals;

namespace {

struct outcome {
    bool let_in = false;
    bool ready = false;
    std::string sqlstate; // of the refusal, as our client end understood it
};

/// Runs both until neither has anything to say; bytes travel in pieces of `piece_bytes`.
outcome run_pair(auth_method method, const std::string& stored, const std::string& password,
                 const std::string& user, std::size_t piece_bytes) {
    client_side gate(client_options(method), {{"ann", stored}}); // plays the server
    server_login::options opts;
    opts.user = user;
    opts.database = "club";
    opts.password = secret(password);
    opts.nonce.fill(std::byte{3});
    opts.min_scram_iterations = 1;
    server_side visitor(std::move(opts)); // plays the client
    visitor.start();

    std::size_t to_gate = 0;
    std::size_t to_visitor = 0;
    bool welcomed = false;
    for (int rounds = 0; rounds < 100'000; ++rounds) {
        if (gate.done && !welcomed) {
            welcomed = true;
            append_parameter_status(gate.sent, "server_version", "15.8");
            message_writer(gate.sent).begin(backend::backend_key_data).u32(42).raw("key!").end();
            append_ready_for_query(gate.sent, transaction_status::idle);
        }
        if (to_gate < visitor.sent.size() && !gate.over()) {
            const auto piece = visitor.sent.substr(to_gate, piece_bytes);
            to_gate += piece.size();
            gate.feed(piece);
        } else if (to_visitor < gate.sent.size() && !visitor.over()) {
            const auto piece = gate.sent.substr(to_visitor, piece_bytes);
            to_visitor += piece.size();
            visitor.feed(piece);
        } else {
            break;
        }
    }
    CHECK(gate.unread().empty());
    return {gate.done.has_value(), visitor.ready.has_value(),
            visitor.refused ? visitor.refused->sqlstate : ""};
}

} // namespace

TEST_CASE("both ends of the login agree, for every method and every stored form") {
    struct stored_row {
        std::string_view name;
        std::string value;
    };
    const std::vector<stored_row> stored_forms{{"plaintext", "pencil"},
                                               {"md5", md5_stored_form("pencil", "ann")},
                                               {"SCRAM", stored_scram("pencil")},
                                               {"none", ""}};
    const auto can_work = [](auth_method method, std::string_view form) {
        return method == auth_method::trust ||
               (form != "none" && !(method == auth_method::scram_sha_256 && form == "md5"));
    };
    for (const auto method : {auth_method::trust, auth_method::password, auth_method::md5,
                              auth_method::scram_sha_256}) {
        for (const auto& each : stored_forms) {
            const auto& form = each.name;
            const auto& value = each.value;
            for (const std::size_t piece : {1UL, 7UL, 100'000UL}) {
                CAPTURE(static_cast<int>(method));
                CAPTURE(form);
                CAPTURE(piece);
                const auto right = run_pair(method, value, "pencil", "ann", piece);
                CHECK(right.let_in == can_work(method, form));
                CHECK(right.ready == right.let_in);
                CHECK(right.sqlstate == (right.let_in ? "" : "28P01"));

                const auto wrong = run_pair(method, value, "pencils", "ann", piece);
                CHECK(wrong.let_in == (method == auth_method::trust));
                CHECK(wrong.ready == wrong.let_in);
                CHECK(wrong.sqlstate == (wrong.let_in ? "" : "28P01"));

                const auto unknown = run_pair(method, value, "pencil", "bob", piece);
                CHECK_FALSE(unknown.let_in);
                CHECK_FALSE(unknown.ready);
                CHECK(unknown.sqlstate == "28P01");
            }
        }
    }
}

TEST_CASE("passwords of any characters come through, by every method") {
    for (const std::string& password :
         {"p"s, "with space"s, "comma,equals=quote'\"\\"s, "\xd0\xbf\xd0\xb0\xd1\x80"s,
          "\xff\xfe not UTF-8"s, std::string(1000, 'x'), "\t\r\n"s}) {
        CAPTURE(password);
        for (const auto method :
             {auth_method::password, auth_method::md5, auth_method::scram_sha_256}) {
            CHECK(run_pair(method, password, password, "ann", 100'000).ready);
        }
        CHECK(
            run_pair(auth_method::scram_sha_256, stored_scram(password), password, "ann", 3).ready);
    }
}
