// Fuzz target: a client from its first byte to the end of its login. Whatever it sends, what it is
// told is whole messages, nobody is let in who does not know the password, and how the bytes were
// cut makes no difference.
//
// Input: the method and flags, the seed of the cuts, then what the client sends; its handshake,
// where TLS is on offer, is nothing after SSLRequest and one byte otherwise. The user `ann` has the
// password that the seeds know, `bob` one that nobody knows. Seeds: make_corpus.py.
#include "protocol/client_login.hpp"
#include "protocol/scram.hpp"
#include "protocol/startup_options.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <optional>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

std::string stored_scram(const char* password) {
    constexpr std::uint32_t iterations = 4; // to be quick
    const std::string salt = "0123456789abcdef";
    return format_scram_verifier(make_verifier(
        derive_salted_password(secret(password), salt, iterations), salt, iterations));
}

// One client. Equal if it made no difference how the bytes came.
class attempt {
public:
    explicit attempt(std::uint8_t flags)
        : flags_(flags)
        , method_(methods[flags & 3U])
        , login_(options_for(flags)) {}

    void feed(std::string_view more) {
        if (over_) {
            return;
        }
        input_ += more;
        for (int steps = 0; act(resume()); ++steps) {
            PGWEIR_MUST(steps < 20); // no login takes more: a loop
        }
    }

    void expect_same(const attempt& other) const {
        PGWEIR_MUST(over_ == other.over_);
        PGWEIR_MUST(told_ == other.told_);
        PGWEIR_MUST(end_ == other.end_);
    }

private:
    static constexpr auth_method methods[] = {auth_method::trust, auth_method::password,
                                              auth_method::md5, auth_method::scram_sha_256};
    // The flags, besides the two bits of the method.
    static constexpr std::uint8_t tls_offered = 4, tls_required = 8, no_hash = 16, other_alpn = 32,
                                  clientcert = 64;

    static client_login::options options_for(std::uint8_t flags) {
        client_login::options options;
        options.method = methods[flags & 3U];
        options.tls_offered = (flags & tls_offered) != 0;
        options.tls_required = (flags & tls_required) != 0;
        options.mock_secret = "a secret of this process";
        options.random.fill(std::byte{7});
        return options;
    }

    login_action resume() {
        auto in = as_bytes(input_);
        const auto before = in.size();
        auto action = login_.resume(in);
        PGWEIR_MUST(in.size() <= before);
        input_.erase(0, before - in.size());
        return action;
    }

    // True when there is more to do now.
    bool act(login_action action) {
        while (true) {
            if (std::holds_alternative<login_read>(action)) {
                return false;
            }
            if (const auto* const write = std::get_if<login_write>(&action)) {
                PGWEIR_MUST(!write->data.empty());
                tell(write->data);
                return true;
            }
            if (const auto* const find = std::get_if<login_find_user>(&action)) {
                PGWEIR_MUST(find->tls == tls_);
                PGWEIR_MUST(tls_ || (flags_ & tls_required) == 0);
                action = login_.found_user(terms_for(find->user));
            } else if (const auto* const start = std::get_if<login_start_tls>(&action)) {
                PGWEIR_MUST((flags_ & tls_offered) != 0 && !tls_);
                tls_ = true;
                if (start->direct) {
                    input_.erase(0, 1);
                }
                action = login_.secured(facts());
                if (std::holds_alternative<login_read>(action)) {
                    return true;
                }
            } else if (const auto* const derive = std::get_if<login_derive>(&action)) {
                // Made-up users have thousands of iterations, for nothing.
                const auto iterations = std::min<std::uint32_t>(derive->iterations, 16);
                action = login_.derived_key(
                    derive_salted_password(derive->password, derive->salt, iterations));
            } else {
                finish(std::move(action));
                return false;
            }
        }
    }

    [[nodiscard]] tls_facts facts() const {
        tls_facts result;
        result.alpn = (flags_ & other_alpn) != 0 ? "http/1.1" : "postgresql";
        result.end_point_hash = (flags_ & no_hash) != 0 ? "" : std::string(32, 'h');
        return result;
    }

    [[nodiscard]] admission terms_for(const std::string& user) const {
        admission terms;
        terms.method = method_;
        terms.credential = credential_of(user);
        terms.require_client_certificate = (flags_ & clientcert) != 0; // nobody has one here
        return terms;
    }

    [[nodiscard]] std::optional<stored_credential> credential_of(const std::string& user) const {
        static const auto ann_scram = stored_scram("pencil");
        static const auto bob_scram = stored_scram("nobody knows it");
        const bool scram = method_ == auth_method::scram_sha_256;
        if (user == "ann") {
            return stored_credential{secret(scram ? ann_scram : "pencil")};
        }
        if (user == "bob") {
            return stored_credential{secret(scram ? bob_scram : "nobody knows it")};
        }
        return std::nullopt;
    }

    void finish(login_action action) {
        over_ = true;
        if (const auto* const done = std::get_if<login_authenticated>(&action)) {
            tell(done->data);
            const auto& start = done->startup;
            PGWEIR_MUST(start.user == "ann" ||
                        (method_ == auth_method::trust && start.user == "bob"));
            PGWEIR_MUST((flags_ & clientcert) == 0);
            PGWEIR_MUST(!tls_ || (flags_ & other_alpn) == 0);
            PGWEIR_MUST(done->keys.has_value() == (method_ == auth_method::scram_sha_256));
            PGWEIR_MUST(!start.user.empty() && start.user.size() <= 63);
            PGWEIR_MUST(start.database.size() <= 63);
            for (const auto& [name, value] : start.settings) {
                (void)parse_startup_options(value);
                end_ += name + "=" + value + ";";
            }
            end_ += start.user + "@" + start.database;
        } else if (const auto* const refused = std::get_if<login_refuse>(&action)) {
            tell(refused->data);
            end_ = "refused: " + refused->log_reason;
        } else {
            const auto& target = std::get<login_cancel>(action).request.target;
            PGWEIR_MUST(target.key.size() >= min_cancel_key_bytes);
            PGWEIR_MUST(target.key.size() <= max_cancel_key_bytes);
            end_ = "cancel: " + std::to_string(target.process_id) + target.key;
        }
    }

    // A single byte answers SSLRequest and GSSENCRequest; all else are messages.
    void tell(std::string_view data) {
        told_ += data;
        PGWEIR_MUST(data != "S" || (flags_ & tls_offered) != 0);
        if (data != "N" && data != "S") {
            walker_.see(data);
            PGWEIR_MUST(walker_.between_messages());
        }
    }

    std::uint8_t flags_;
    auth_method method_;
    client_login login_;
    frame_walker walker_{"REv"};
    std::string input_, told_, end_;
    bool over_ = false, tls_ = false;
};

bool asks_for_encryption(std::string_view stream) {
    if (stream.size() < 8 || read_u32(as_bytes(stream)) != 8) {
        return false;
    }
    const auto code = read_u32(as_bytes(stream).subspan(4));
    return code == ssl_request_code || code == gssenc_request_code;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz_input in(data, size);
    const auto flags = in.byte();
    cuts cut(in.byte());
    auto stream = in.rest();
    attempt whole(flags);
    attempt pieces(flags);
    // Anything behind a request for encryption, before it is answered, is an attack: there, it does
    // matter how the bytes come.
    while (asks_for_encryption(stream)) {
        whole.feed(stream.substr(0, 8));
        pieces.feed(stream.substr(0, 8));
        stream.remove_prefix(8);
    }
    whole.feed(stream);
    while (!stream.empty()) {
        const auto count = cut.piece(stream.size());
        pieces.feed(stream.substr(0, count));
        stream.remove_prefix(count);
    }
    pieces.expect_same(whole);
    return 0;
}
