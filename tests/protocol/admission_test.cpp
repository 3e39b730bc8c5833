// Tests of protocol/admission.hpp, and of what client_login makes of the terms it is given.
#include "protocol/admission.hpp"
#include "tests/protocol/login_script.hpp"

using namespace login_script;
using namespace std::string_literals;

namespace {

/// A client named `user` that has been through TLS if `facts`, on these terms; bob is unknown.
client_side on_terms(const admission& terms, const std::optional<tls_facts>& facts = {},
                     const std::string& user = "ann") {
    auto opts = client_options(auth_method::scram_sha_256);
    opts.tls_offered = true;
    client_side side(std::move(opts), {{"ann", "pencil"}, {"", "pencil"}});
    side.terms = [terms](const login_find_user&) { return terms; };
    if (facts) {
        side.handshake = facts;
        side.feed(untyped(ssl_request_code));
        side.sent.clear();
    }
    side.feed(startup({{"user", user}}));
    return side;
}

tls_facts with_certificate(bool verified = true) {
    auto facts = plain_facts();
    facts.client_subject = "CN=ann,O=club";
    facts.client_common_name = "ann";
    facts.client_verified = verified;
    return facts;
}

void check_refused(const client_side& side, std::string_view sqlstate, std::string_view text) {
    REQUIRE(side.refused);
    CHECK_FALSE(side.done);
    const auto fields = read_error_fields(as_bytes(side.refused->data).subspan(header_bytes));
    CHECK(fields.fatal());
    CHECK(fields.sqlstate == sqlstate);
    CHECK(fields.message == text);
}

admission terms_of(auth_method method) {
    admission terms;
    terms.method = method;
    return terms;
}

} // namespace

TEST_CASE("refusals by pg_hba.conf are in PostgreSQL's words") {
    admission_subject subject{.host = "192.0.2.1", .user = "ann", .database = "club"};
    CHECK(no_entry_for(subject).words.message ==
          "no pg_hba.conf entry for host \"192.0.2.1\", user \"ann\", database \"club\", no "
          "encryption");
    CHECK(rejected_by_entry(subject).words.message ==
          "pg_hba.conf rejects connection for host \"192.0.2.1\", user \"ann\", database "
          "\"club\", no encryption");
    subject.tls = true;
    subject.host = "[local]";
    subject.replication = replication_kind::logical;
    CHECK(no_entry_for(subject).words.message ==
          "no pg_hba.conf entry for host \"[local]\", user \"ann\", database \"club\", SSL "
          "encryption");
    subject.replication = replication_kind::physical;
    subject.user = "a\x1b\"n";
    CHECK(no_entry_for(subject).words.message ==
          "no pg_hba.conf entry for replication connection from host \"[local]\", user \"a?\"n\", "
          "SSL encryption");
    CHECK(rejected_by_entry(subject).words.message ==
          "pg_hba.conf rejects replication connection for host \"[local]\", user \"a?\"n\", SSL "
          "encryption");
}

TEST_CASE("a refusal comes before anything else, for known and unknown users") {
    for (const auto& user : {"ann"s, "bob"s}) {
        for (const auto method : {auth_method::trust, auth_method::scram_sha_256}) {
            auto terms = terms_of(method);
            terms.refusal = no_entry_for({.host = "h", .user = user, .database = "club"});
            const auto side = on_terms(terms, {}, user);
            check_refused(side, "28000",
                          "no pg_hba.conf entry for host \"h\", user \"" + user +
                              "\", database \"club\", no encryption");
            CHECK(frames_in(side.sent).size() == 1);
            CHECK_FALSE(side.refused->unproven); // nothing has been tried
        }
        const auto side = on_terms(terms_of(auth_method::reject), {}, user);
        check_refused(side, "28000", "the connection is not allowed");
        CHECK_FALSE(side.refused->unproven);
    }
}

TEST_CASE("the terms' method counts, not that of the options") {
    CHECK(on_terms(terms_of(auth_method::trust)).done);
    auto side = on_terms(terms_of(auth_method::password));
    CHECK(frames_in(side.sent).back().body == "\0\0\0\3"s);
    side.feed(password_message("pencil"));
    CHECK(side.done);
}

TEST_CASE("cert: the certificate has to be verified, and to stand for the user who logs in") {
    struct row {
        std::string_view name;
        std::optional<tls_facts> facts;
        bool is_user;
        std::string_view text; // empty: let in
    };
    constexpr std::string_view none = "connection requires a valid client certificate";
    constexpr std::string_view other = "certificate authentication failed for user \"ann\"";
    auto terms = terms_of(auth_method::cert);
    for (const auto& each :
         {row{"right", with_certificate(), true, ""}, row{"in the clear", {}, true, none},
          row{"none shown", plain_facts(), true, none},
          row{"nobody vouches for it", with_certificate(false), true, none},
          row{"ann's by name, and the map says no", with_certificate(), false, other}}) {
        CAPTURE(each.name);
        terms.certificate_is_user = each.is_user;
        const auto side = on_terms(terms, each.facts);
        if (each.text.empty()) {
            REQUIRE(side.done);
            CHECK(side.done->password.empty());
        } else {
            check_refused(side, "28000", each.text);
            CHECK(side.refused->unproven);
        }
    }
}

TEST_CASE("2015-6817: an unknown user never gets in by certificate or as a peer") {
    auto cert = terms_of(auth_method::cert);
    cert.certificate_is_user = true;
    check_refused(on_terms(cert, with_certificate(), "bob"), "28000",
                  "certificate authentication failed for user \"bob\"");
    auto peer = terms_of(auth_method::peer);
    peer.peer_is_user = true;
    check_refused(on_terms(peer, {}, "bob"), "28000",
                  "Peer authentication failed for user \"bob\"");
}

TEST_CASE("clientcert=verify-ca and verify-full, with other methods") {
    struct row {
        bool names_user;
        std::optional<tls_facts> facts;
        bool is_user;
        std::string_view sqlstate; // empty: let in with the right password
    };
    for (const auto& each :
         {row{false, with_certificate(), true, ""}, row{false, with_certificate(), false, ""},
          row{false, with_certificate(false), true, "28000"}, row{false, {}, true, "28000"},
          row{true, with_certificate(), true, ""}, row{true, with_certificate(), false, "28P01"},
          row{true, plain_facts(), true, "28000"}}) {
        for (const auto method : {auth_method::password, auth_method::trust}) {
            CAPTURE(each.names_user);
            CAPTURE(each.is_user);
            auto terms = terms_of(method);
            (each.names_user ? terms.certificate_names_user : terms.require_client_certificate) =
                true;
            terms.certificate_is_user = each.is_user;
            auto side = on_terms(terms, each.facts);
            if (method == auth_method::password) {
                // Who does not know the password does not learn whether the certificate would do.
                CHECK(side.over() == (each.sqlstate == "28000"));
                side.feed(password_message("pencil"));
            }
            CHECK(side.done.has_value() == each.sqlstate.empty());
            if (each.sqlstate == "28000") {
                check_refused(side, "28000", "connection requires a valid client certificate");
            } else if (!each.sqlstate.empty() && method == auth_method::trust) {
                check_refused(side, "28000", "\"trust\" authentication failed for user \"ann\"");
            } else if (!each.sqlstate.empty()) {
                check_refused(side, "28P01", "password authentication failed for user \"ann\"");
            }
        }
    }
}

TEST_CASE("a line that says reject asks for the certificate first") {
    for (const bool shown : {true, false}) {
        CAPTURE(shown);
        auto terms = terms_of(auth_method::reject);
        terms.refusal = rejected_by_entry({.host = "h", .user = "ann", .database = "shop"});
        terms.require_client_certificate = true;
        const auto side = on_terms(terms, shown ? with_certificate() : plain_facts());
        check_refused(side, "28000",
                      shown ? terms.refusal->words.message
                            : "connection requires a valid client certificate");
    }
}

TEST_CASE("peer: the operating system's user has to stand for the one who logs in") {
    for (const bool is_user : {true, false}) {
        CAPTURE(is_user);
        auto terms = terms_of(auth_method::peer);
        terms.peer_is_user = is_user;
        const auto side = on_terms(terms);
        if (is_user) {
            CHECK(side.done);
        } else {
            check_refused(side, "28000", "Peer authentication failed for user \"ann\"");
            CHECK(side.refused->unproven);
        }
    }
}

TEST_CASE("Bitnami pgpool 2025-22248: terms that nobody has filled in let nobody in") {
    auto side = on_terms(admission{});
    CHECK_FALSE(side.over()); // it is asked for SCRAM
    CHECK(frames_in(side.sent).back().body.starts_with("\0\0\0\12"s));
    for (const auto method : {auth_method::cert, auth_method::peer, auth_method::reject}) {
        CHECK(on_terms(terms_of(method)).refused);
        CHECK(on_terms(terms_of(method), with_certificate()).refused);
    }
}

TEST_CASE("no enumeration: md5 asks those without a password for what most others are asked for") {
    const auto request = [](const std::string& user, const std::string& stored, bool mock_scram) {
        client_side side(client_options(auth_method::md5), {{"ann", stored}});
        side.terms = [mock_scram](const login_find_user&) {
            auto terms = terms_of(auth_method::md5);
            terms.mock_scram = mock_scram;
            return terms;
        };
        side.feed(startup({{"user", user}}));
        return side.sent;
    };
    const auto md5 = request("ann", "pencil", false);
    const auto scram = request("ann", stored_scram("pencil"), false);
    CHECK(md5 != scram);
    for (const bool mock_scram : {false, true}) {
        const auto& most = mock_scram ? scram : md5;
        CHECK(request("bob", "pencil", mock_scram) == most);
        CHECK(request("ann", "", mock_scram) == most);
        CHECK(request("ann", "SCRAM-SHA-256$1:x", mock_scram) == most);
        CHECK(request("ann", "pencil", mock_scram) == md5);
        CHECK(request("ann", stored_scram("pencil"), mock_scram) == scram);
    }
}

TEST_CASE("no enumeration: salt and iterations before any proof are a stranger's as most users'") {
    const std::string nonce = "client-nonce", name = "ann";
    const auto md5_of_pencil = md5_stored_form("pencil", name);
    for (const auto shape : {scram_shape{}, scram_shape{20'000, 16}, scram_shape{20'000, 40}}) {
        CAPTURE(shape.iterations);
        CAPTURE(shape.salt_bytes);
        const auto shown_to = [&](const client_side::credentials& known, bool gets_in) {
            client_side side(client_options(auth_method::scram_sha_256), known);
            side.terms = [&](const login_find_user&) {
                auto terms = terms_of(auth_method::scram_sha_256);
                terms.mock_shape = shape;
                return terms;
            };
            side.feed(startup({{"user", name}}));
            side.feed(sasl_initial("n,,n=,r=" + nonce));
            scram_client_exchange client(nonce);
            REQUIRE_FALSE(client.read_server_first(frames_in(side.sent).back().body.substr(4)));
            side.feed(message('p', client.client_final(derive_salted_password(
                                       secret("pencil"), client.salt(), client.iterations()))));
            CHECK(side.done.has_value() == gets_in);
            return scram_shape{client.iterations(),
                               static_cast<std::uint32_t>(client.salt().size())};
        };
        const std::string salt(shape.salt_bytes, 's');
        const auto verifier = format_scram_verifier(
            make_verifier(derive_salted_password(secret("pencil"), salt, shape.iterations), salt,
                          shape.iterations));
        CHECK(shape_of_verifier(verifier) == shape);
        CHECK(shown_to({{name, verifier}}, true) == shape);
        CHECK(shown_to({{name, "pencil"}}, true) == shape);
        CHECK(shown_to({{name, md5_of_pencil}}, false) == shape);
        CHECK(shown_to({}, false) == shape);
    }
}

TEST_CASE("terms that nobody asked for are refused, not believed") {
    client_login login(client_options(auth_method::trust));
    CHECK(std::holds_alternative<login_refuse>(login.found_user(terms_of(auth_method::trust))));
}
