// The inside of server_login: its phases and what it does in them. Included by server_login.cpp
// (frames, the welcome, what is called from outside) and server_login_authentication.cpp, by nobody
// else.
//
// Owner: its server_login. Tests: tests/protocol/server_login_test.cpp, server_login_tls_test.cpp.
#pragma once

#include "protocol/reported_parameters.hpp"
#include "protocol/scram.hpp"
#include "protocol/scram_exchange.hpp"
#include "protocol/server_encryption.hpp"
#include "protocol/server_login.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pgweir::protocol::server_login_phases {

enum class authentication : std::uint32_t {
    ok = 0,
    kerberos_v5 = 2,
    cleartext_password = 3,
    crypt = 4,
    md5_password = 5,
    scm_credential = 6,
    gss = 7,
    gss_continue = 8,
    sspi = 9,
    sasl = 10,
    sasl_continue = 11,
    sasl_final = 12,
};

struct not_started {};
struct securing { // TLS, or none, before anything else
    server_encryption encryption;
};
struct awaiting_authentication { // the first request, or AuthenticationOk (trust)
    bool negotiated = false;     // NegotiateProtocolVersion has come
};
struct awaiting_ok {}; // our password is on its way
struct awaiting_sasl_continue {
    scram_client_exchange exchange;
};
struct deriving_key { // derived_key() is owed to us
    scram_client_exchange exchange;
};
struct awaiting_sasl_final {
    scram_client_exchange exchange;
};
struct awaiting_sasl_ok {}; // the server has proven itself
struct awaiting_ready {};   // its parameters and key come
struct awaiting_probe {
    bool failed = false;
};
struct ended {};

/// What a message led to: an action to return, or nothing: on with the next one.
using step = std::optional<server_login_action>;

} // namespace pgweir::protocol::server_login_phases

namespace pgweir::protocol {

// Included by the files of server_login only, which speak of little else.
// tidy: allow using-namespace: see the line above
using namespace server_login_phases;

struct server_login::state {
    using why = server_refused::why;
    using any_phase = std::variant<not_started, securing, awaiting_authentication, awaiting_ok,
                                   awaiting_sasl_continue, deriving_key, awaiting_sasl_final,
                                   awaiting_sasl_ok, awaiting_ready, awaiting_probe, ended>;

    explicit state(options given)
        : opts(std::move(given)) {}

    options opts;
    any_phase now;
    std::optional<tls_facts> tls; // nothing: in the clear
    server_welcome welcome;
    std::size_t kept_bytes = 0;
    bool heard = false; // any message at all

    template <typename Phase>
    Phase leave(Phase& current) {
        auto left = std::move(current);
        now = ended{};
        return left;
    }

    server_login_action refuse(why reason, std::string text);
    server_login_action unexpected(char type);
    server_login_action refused_by(bytes body, bool welcomed);
    [[nodiscard]] server_refused::retry another_way(std::string_view sqlstate) const;
    std::optional<server_login_action> take_message(bytes& in, char& type, bytes& body);
    std::optional<server_login_action> read_ancient_error(bytes in);

    // Up to the startup message
    server_login_action next(encryption_action action);
    server_login_action send_startup();

    // Whatever the phase
    step on_message(char type, bytes body);
    step on_parameter(bytes body);
    step on_key(bytes body);
    step on_notice(bytes body);

    // Authentication
    step on_negotiation(awaiting_authentication& phase, bytes body);
    step on_authentication(bytes body);
    step on_request(authentication kind, body_reader rest);
    step send_password(std::string_view text);
    step start_scram(body_reader mechanisms);
    step send_client_first(scram_binding binding);
    step on_sasl_continue(awaiting_sasl_continue& phase, bytes message);
    step on_sasl_final(awaiting_sasl_final& phase, bytes message);
    step prove_with_keys(scram_client_exchange exchange);
    step derive(scram_client_exchange exchange);
    step scram_refused(const scram_failure& failure);

    // Ready
    step on_ready(bytes body);
    step on_row(bytes body);
    step keep(std::size_t count);
};

} // namespace pgweir::protocol
