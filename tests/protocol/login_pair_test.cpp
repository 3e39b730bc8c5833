// client_login against server_login, back to back: both ends of PostgreSQL's login, each checked by
// the other. All methods, all stored forms, right and wrong passwords, in the clear and through
// TLS, with a password and with the keys of another exchange, split in every way.
#include "tests/protocol/login_script.hpp"

using namespace login_script;
using namespace std::string_literals;

namespace {

struct outcome {
    bool let_in = false;
    bool ready = false;
    std::string sqlstate; // of the refusal, as our client end understood it
    std::string message;
    std::optional<scram_keys> keys; // what the proof has left
    int derivations = 0;
};

server_login::options visitor_options(const std::string& user, const std::string& password) {
    server_login::options opts;
    opts.user = user;
    opts.database = "club";
    opts.password = secret(password);
    opts.nonce.fill(std::byte{3});
    opts.min_scram_iterations = 1;
    return opts;
}

/// Runs both until neither has anything to say; bytes travel in pieces of `piece_bytes`. Their TLS,
/// if there is any, is a handshake of no bytes that shows each of them this end point.
outcome run_pair(client_login::options gate_opts, const std::string& stored,
                 server_login::options opts, std::size_t piece_bytes,
                 const std::string& end_point_hash = std::string(32, 'h')) {
    client_side gate(std::move(gate_opts), {{"ann", stored}}); // plays the server
    gate.handshake = plain_facts("postgresql");
    server_side visitor(std::move(opts)); // plays the client
    visitor.handshake = plain_facts("postgresql");
    visitor.handshake->end_point_hash = end_point_hash;
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
    return {gate.done.has_value(),
            visitor.ready.has_value(),
            visitor.refused ? visitor.refused->sqlstate : "",
            visitor.refused ? visitor.refused->message : "",
            gate.done ? gate.done->keys : std::nullopt,
            visitor.derivations};
}

outcome run_pair(auth_method method, const std::string& stored, const std::string& password,
                 const std::string& user, std::size_t piece_bytes) {
    return run_pair(client_options(method), stored, visitor_options(user, password), piece_bytes);
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
                CHECK(unknown.sqlstate == (method == auth_method::trust ? "28000" : "28P01"));
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

TEST_CASE("both ends agree about TLS, for every mode, offered or not") {
    for (const auto mode : {tls_mode::disable, tls_mode::allow, tls_mode::prefer, tls_mode::require,
                            tls_mode::verify_ca, tls_mode::verify_full}) {
        for (const bool offered : {false, true}) {
            for (const bool required : {false, true}) {
                for (const auto method :
                     {auth_method::trust, auth_method::password, auth_method::scram_sha_256}) {
                    CAPTURE(static_cast<int>(mode));
                    CAPTURE(offered);
                    CAPTURE(required);
                    auto gate = client_options(method);
                    gate.tls_offered = offered;
                    gate.tls_required = required;
                    auto visitor = visitor_options("ann", "pencil");
                    visitor.tls = mode;
                    const bool through_tls = offered && mode >= tls_mode::prefer;
                    const bool works = through_tls || (!required && mode < tls_mode::require);
                    const auto result = run_pair(gate, "pencil", std::move(visitor), 1);
                    CHECK(result.let_in == works);
                    CHECK(result.ready == works);
                }
            }
        }
    }
}

TEST_CASE("both ends agree about channel binding") {
    for (const auto binding :
         {channel_binding::disable, channel_binding::prefer, channel_binding::require}) {
        for (const bool tls : {false, true}) {
            for (const bool between : {false, true}) { // somebody with a certificate of his own
                for (const auto& stored : {"pencil"s, stored_scram("pencil")}) {
                    CAPTURE(static_cast<int>(binding));
                    CAPTURE(tls);
                    CAPTURE(between);
                    auto gate = client_options(auth_method::scram_sha_256);
                    gate.tls_offered = true;
                    auto visitor = visitor_options("ann", "pencil");
                    visitor.tls = tls ? tls_mode::require : tls_mode::disable;
                    visitor.binding = binding;
                    const auto result = run_pair(gate, stored, std::move(visitor), 7,
                                                 std::string(32, between ? 'b' : 'h'));
                    const bool bound = tls && binding != channel_binding::disable;
                    const bool works = bound ? !between : binding != channel_binding::require;
                    CHECK(result.let_in == works);
                    CHECK(result.ready == works);
                    if (bound && between) {
                        CHECK(result.sqlstate == "28000");
                        CHECK(result.message == "SCRAM channel binding check failed");
                    }
                }
            }
        }
    }
}

TEST_CASE("pass-through: a client's proof logs in to a server that has the same verifier") {
    const auto verifier = stored_scram("pencil");
    const auto log_in_with = [&](const scram_keys& keys, const std::string& at_server, bool tls) {
        auto gate = client_options(auth_method::scram_sha_256, 21);
        gate.tls_offered = tls;
        auto visitor = visitor_options("ann", "");
        visitor.tls = tls ? tls_mode::require : tls_mode::disable;
        visitor.keys = keys;
        return run_pair(gate, at_server, std::move(visitor), 3);
    };
    for (const bool client_tls : {false, true}) {
        auto gate = client_options(auth_method::scram_sha_256);
        gate.tls_offered = client_tls;
        auto client = visitor_options("ann", "pencil");
        client.tls = tls_mode::prefer;
        const auto first = run_pair(gate, verifier, std::move(client), 100'000);
        REQUIRE(first.keys);
        for (const bool server_tls : {false, true}) {
            // For the first connection, and for any that is opened later.
            for (int again = 0; again < 3; ++again) {
                const auto second = log_in_with(*first.keys, verifier, server_tls);
                CHECK(second.let_in);
                CHECK(second.ready);
                CHECK(second.derivations == 0);
                REQUIRE(second.keys); // and through a chain of poolers
                CHECK(log_in_with(*second.keys, verifier, server_tls).ready);
            }
            // Servers may have another verifier of the same password (another salt).
            const auto other = format_scram_verifier(make_verifier(
                derive_salted_password(secret("pencil"), "other salt", 16), "other salt", 16));
            const auto refused = log_in_with(*first.keys, other, server_tls);
            CHECK_FALSE(refused.ready);
            CHECK_FALSE(refused.let_in);
            CHECK(refused.message.find("another SCRAM verifier") != std::string::npos);
            // The same salt, another password: the keys fit neither way.
            CHECK_FALSE(log_in_with(*first.keys, stored_scram("pencils"), server_tls).let_in);
        }
    }
}
