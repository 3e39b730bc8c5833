// What the login tests share: messages as a peer would send them, and drivers that do what the
// engine does with a login (answer its actions) without any I/O.
#pragma once

#include "protocol/client_login.hpp"
#include "protocol/message.hpp"
#include "protocol/scram.hpp"
#include "protocol/scram_exchange.hpp"
#include "protocol/server_login.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace login_script {

using namespace pgweir::protocol;

inline std::string message(char type, std::string_view body) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}

/// A header that claims `length_field`, and nothing behind it.
inline std::string header_only(char type, std::uint32_t length_field) {
    std::string out(1, type);
    message_writer(out).u32(length_field);
    return out;
}

inline std::string untyped(std::uint32_t code, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin_untyped().u32(code).raw(body).end();
    return out;
}

inline std::string startup(const std::vector<std::pair<std::string, std::string>>& parameters,
                           std::uint32_t version = protocol_3_0) {
    std::string body;
    for (const auto& [name, value] : parameters) {
        body += name + '\0' + value + '\0';
    }
    return untyped(version, body + '\0');
}

inline std::string password_message(std::string_view password) {
    return message('p', std::string(password) + '\0');
}

/// SASLInitialResponse; `length` is what its inner length field says.
inline std::string sasl_initial(std::string_view mechanism, std::string_view data,
                                std::uint32_t length) {
    std::string body(mechanism);
    body += '\0';
    message_writer(body).u32(length).raw(data);
    return message('p', body);
}
inline std::string sasl_initial(std::string_view data) {
    return sasl_initial("SCRAM-SHA-256", data, static_cast<std::uint32_t>(data.size()));
}

inline std::string authentication(std::uint32_t kind, std::string_view rest = {}) {
    std::string body;
    message_writer(body).u32(kind).raw(rest);
    return message('R', body);
}

inline std::string error_message(std::string_view sqlstate, std::string_view text,
                                 std::string_view severity = "FATAL") {
    std::string body;
    for (const auto& [type, value] : {std::pair{'S', severity}, std::pair{'V', severity},
                                      std::pair{'C', sqlstate}, std::pair{'M', text}}) {
        body += type;
        body += value;
        body += '\0';
    }
    return message('E', body + '\0');
}

/// One message of a stream, its type and body.
struct framed {
    char type;
    std::string body;
};

/// The whole messages in `stream`, after a number of leading raw bytes (answers to SSLRequest).
inline std::vector<framed> frames_in(std::string_view stream, std::size_t raw = 0) {
    std::vector<framed> found;
    auto rest = as_bytes(stream.substr(raw));
    while (!rest.empty()) {
        REQUIRE(rest.size() >= header_bytes);
        const auto head = read_header(rest);
        REQUIRE(head.plausible());
        REQUIRE(rest.size() >= head.frame_bytes());
        found.push_back({head.type, std::string(as_text(rest.subspan(5, head.body_bytes())))});
        rest = rest.subspan(head.frame_bytes());
    }
    return found;
}

/// Drives a client_login as the engine would: one action after the other, until it wants to read
/// or has come to an end.
class client_side {
public:
    using credentials = std::map<std::string, std::string>;

    client_side(client_login::options opts, credentials known)
        : login_(std::move(opts))
        , known_(std::move(known)) {}

    /// More bytes from the client. False once the login is over.
    bool feed(std::string_view more) {
        input_ += more;
        if (over()) {
            return false;
        }
        return run(call_resume());
    }
    bool time_out() { return run(login_.timed_out()); }

    /// The handshake that was asked for is done.
    bool secure(tls_facts facts) {
        take_hello();
        auto action = login_.secured(std::move(facts));
        return run(std::holds_alternative<login_read>(action) ? call_resume() : std::move(action));
    }

    [[nodiscard]] bool over() const { return done || refused || cancelled; }
    /// What nobody has used yet.
    [[nodiscard]] const std::string& unread() const { return input_; }
    [[nodiscard]] const client_login& login() const { return login_; }

    std::string sent; // all of it, that of the last action included
    std::optional<login_authenticated> done;
    std::optional<login_refuse> refused;
    std::optional<login_cancel> cancelled;
    int derivations = 0;
    std::vector<std::string> looked_up;
    std::vector<login_find_user> asked_about;
    std::optional<login_start_tls> tls; // a handshake has been asked for
    std::optional<tls_facts> handshake; // if set, what each handshake comes to, at once
    /// If set, on what terms they log in; the credential is filled in.
    std::function<admission(const login_find_user&)> terms;

private:
    login_action call_resume() {
        auto in = as_bytes(input_);
        const auto before = in.size();
        auto action = login_.resume(in);
        REQUIRE(in.size() <= before);
        input_.erase(0, before - in.size());
        return action;
    }

    bool run(login_action action) {
        for (int steps = 0;; ++steps) {
            REQUIRE(steps < 20); // no login takes more: a loop
            if (std::holds_alternative<login_read>(action)) {
                return true;
            }
            if (auto* const write = std::get_if<login_write>(&action)) {
                REQUIRE_FALSE(write->data.empty());
                sent += write->data;
                action = call_resume();
            } else if (auto* const find = std::get_if<login_find_user>(&action)) {
                looked_up.push_back(find->user);
                asked_about.push_back(*find);
                action = answer_about(*find);
            } else if (auto* const start = std::get_if<login_start_tls>(&action)) {
                REQUIRE_FALSE(tls);
                tls = *start;
                if (!handshake) {
                    return true;
                }
                take_hello();
                action = login_.secured(*handshake);
                if (std::holds_alternative<login_read>(action)) {
                    action = call_resume();
                }
            } else if (auto* const derive = std::get_if<login_derive>(&action)) {
                ++derivations;
                action = login_.derived_key(
                    derive_salted_password(derive->password, derive->salt, derive->iterations));
            } else {
                return end(std::move(action));
            }
        }
    }

    /// A handshake of one byte, where it is the client that begins with it.
    void take_hello() {
        if (tls && tls->direct) {
            input_.erase(0, 1);
        }
    }

    login_action answer_about(const login_find_user& who) {
        const auto found = known_.find(who.user);
        std::optional<stored_credential> credential;
        if (found != known_.end()) {
            credential = stored_credential{secret(found->second)};
        }
        if (!terms) {
            return login_.found_user(std::move(credential));
        }
        auto on = terms(who);
        on.credential = std::move(credential);
        return login_.found_user(std::move(on));
    }

    bool end(login_action action) {
        if (auto* const ok = std::get_if<login_authenticated>(&action)) {
            sent += ok->data;
            done = std::move(*ok);
        } else if (auto* const no = std::get_if<login_refuse>(&action)) {
            sent += no->data;
            refused = std::move(*no);
        } else {
            cancelled = std::get<login_cancel>(std::move(action));
        }
        return false;
    }

    client_login login_;
    credentials known_;
    std::string input_;
};

/// The same for a server_login.
class server_side {
public:
    explicit server_side(server_login::options opts)
        : login_(std::move(opts)) {}

    bool start() { return run(login_.start()); }
    bool secure(tls_facts facts) { return run(login_.secured(std::move(facts))); }
    bool fail_handshake(std::string_view why) { return run(login_.handshake_failed({why})); }
    bool feed(std::string_view more) {
        input_ += more;
        if (over()) {
            return false;
        }
        return run(call_resume());
    }

    [[nodiscard]] bool over() const { return ready || refused; }
    [[nodiscard]] const std::string& unread() const { return input_; }

    std::string sent;
    std::optional<server_ready> ready;
    std::optional<server_refused> refused;
    int derivations = 0;
    std::optional<login_start_tls> tls; // a handshake has been asked for
    std::optional<tls_facts> handshake; // if set, what it comes to, at once

private:
    server_login_action call_resume() {
        auto in = as_bytes(input_);
        const auto before = in.size();
        auto action = login_.resume(in);
        REQUIRE(in.size() <= before);
        input_.erase(0, before - in.size());
        return action;
    }

    bool run(server_login_action action) {
        for (int steps = 0;; ++steps) {
            REQUIRE(steps < 20);
            if (std::holds_alternative<login_read>(action)) {
                return true;
            }
            if (auto* const write = std::get_if<login_write>(&action)) {
                REQUIRE_FALSE(write->data.empty());
                sent += write->data;
                action = call_resume();
            } else if (auto* const start = std::get_if<login_start_tls>(&action)) {
                REQUIRE_FALSE(tls);
                tls = *start;
                if (!handshake) {
                    return true;
                }
                action = login_.secured(*handshake);
            } else if (auto* const derive = std::get_if<login_derive>(&action)) {
                ++derivations;
                action = login_.derived_key(
                    derive_salted_password(derive->password, derive->salt, derive->iterations));
            } else if (auto* const fine = std::get_if<server_ready>(&action)) {
                ready = std::move(*fine);
                return false;
            } else {
                refused = std::get<server_refused>(std::move(action));
                return false;
            }
        }
    }

    server_login login_;
    std::string input_;
};

inline client_login::options client_options(auth_method method, unsigned char seed = 7) {
    client_login::options opts;
    opts.method = method;
    opts.mock_secret = "a secret of this process";
    opts.random.fill(std::byte{seed});
    return opts;
}

/// What a handshake with nothing remarkable comes to.
inline tls_facts plain_facts(std::string_view alpn = "") {
    tls_facts facts;
    facts.alpn = alpn;
    facts.end_point_hash = std::string(32, 'h');
    return facts;
}

/// A SCRAM-SHA-256 verifier with few iterations, so that tests are quick.
inline std::string stored_scram(std::string_view password, std::uint32_t iterations = 16) {
    const std::string salt = "0123456789abcdef";
    return format_scram_verifier(make_verifier(
        derive_salted_password(secret(std::string(password)), salt, iterations), salt, iterations));
}

/// Feeds `script` to a side of its own, from `make`, for each byte that one of its steps can be cut
/// at; `check` is given each of them at the end.
template <typename Make, typename Check>
void split_at_every_byte(const std::vector<std::string>& script, Make make, Check check) {
    for (std::size_t step = 0; step < script.size(); ++step) {
        for (std::size_t at = 1; at < script[step].size(); ++at) {
            auto side = make();
            for (std::size_t i = 0; i < script.size(); ++i) {
                if (i == step) {
                    side.feed(script[i].substr(0, at));
                    REQUIRE_FALSE(side.over());
                    side.feed(script[i].substr(at));
                } else {
                    side.feed(script[i]);
                }
            }
            check(side);
        }
    }
}

} // namespace login_script
