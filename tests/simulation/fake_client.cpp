#include "tests/simulation/fake_client.hpp"

#include "protocol/scram.hpp"
#include "protocol/startup.hpp"
#include "tests/simulation/salted_password.hpp"

namespace pgweir::simulation {

namespace {

std::string startup_packet(std::uint16_t minor_version,
                           const std::vector<std::pair<std::string, std::string>>& parameters) {
    std::string out;
    protocol::message_writer writer(out);
    writer.begin_untyped().u32(protocol::protocol_3_0 | minor_version);
    for (const auto& [name, value] : parameters) {
        writer.c_string(name).c_string(value);
    }
    writer.u8(0).end();
    return out;
}

std::string password_message(std::string_view body) {
    std::string out;
    protocol::message_writer(out).begin('p').raw(body).end();
    return out;
}

/// What a session is like at its start that asks for these.
settings with(settings own, const settings& asked) {
    for (const auto& [name, value] : asked) {
        own[name] = value;
    }
    return own;
}

} // namespace

fake_client::fake_client(world& shared, network& net, client_rules& rules, client_plan plan)
    : shared_(shared)
    , network_(net)
    , rules_(rules)
    , plan_(std::move(plan))
    , tag_("c" + std::to_string(plan_.number))
    , self_(std::make_shared<fake_client*>(this))
    , model_(with(rules.own_settings, plan_.at_start))
    , snapshot_(settings{})
    , requests_left_(plan_.requests)
    , limited_(model_.idle_limit().count() != 0) {}

fake_client::~fake_client() {
    *self_ = nullptr;
    if (end_) {
        end_->close();
    }
}

std::string fake_client::describe() const {
    static constexpr std::array names{"not started", "asking for TLS", "logging in",
                                      "logged in",   "leaving",        "done"};
    return tag_ + " (" + names[static_cast<std::size_t>(phase_)] + ", " +
           std::to_string(units_.size()) + " requests unanswered, " +
           std::to_string(expected_.size()) + " messages of the current answer missing, " +
           std::to_string(out_.size()) + " bytes unsent)";
}

void fake_client::after(duration delay, void (fake_client::*what)()) {
    shared_.time.after(delay, [self = self_, what] {
        if (*self != nullptr) {
            ((*self)->*what)();
        }
    });
}

void fake_client::start() {
    if (rules_.shutting_down) {
        phase_ = phase::done; // nobody listens any more
        return;
    }
    auto ends = network_.connect();
    end_ = ends[0];
    end_->set_user(this);
    started_at_ = shared_.time.now();
    shared_.trace(plan_.number, "connect", [&] { return tag_; });
    rules_.accept(ends[1]);
    if (plan_.asks_for_tls) {
        phase_ = phase::tls;
        std::string out;
        protocol::message_writer(out).begin_untyped().u32(protocol::ssl_request_code).end();
        put(out);
    } else {
        send_startup();
    }
}

void fake_client::send_startup() {
    phase_ = phase::login;
    const bool no_such = plan_.provokes == client_plan::refusal::database;
    std::vector<std::pair<std::string, std::string>> parameters{
        {"user", plan_.user}, {"database", no_such ? "no_such_database" : plan_.database}};
    std::string options;
    for (const auto& [name, value] : plan_.at_start) {
        if (plan_.settings_as_options && name != "application_name") {
            options += "-c " + name + "=" + value + " ";
        } else {
            parameters.emplace_back(name, value);
        }
    }
    if (!options.empty()) {
        parameters.emplace_back("options", options);
    }
    put(startup_packet(plan_.minor_version, parameters));
}

// Login ------------------------------------------------------------------------------------------

void fake_client::answer_authentication(const message& m) {
    const auto code = protocol::read_u32(protocol::as_bytes(m.body));
    const auto rest = m.body.substr(4);
    const auto& password =
        plan_.provokes == client_plan::refusal::password ? std::string("wrong") : plan_.password;
    if (code == 3) {
        put(password_message(password + '\0'));
    } else if (code == 5) {
        put(password_message(protocol::md5_response(password, plan_.user, rest) + '\0'));
    } else if (code == 10) {
        scram_first_ = "n=,r=clientnonce" + tag_;
        const auto first = "n,," + scram_first_;
        std::string body = std::string("SCRAM-SHA-256") + '\0';
        const auto size = static_cast<std::uint32_t>(first.size());
        for (const unsigned shift : {24U, 16U, 8U, 0U}) {
            body += static_cast<char>(size >> shift);
        }
        put(password_message(body + first));
    } else if (code == 11) {
        const auto nonce = rest.substr(2, rest.find(",s=") - 2);
        const auto salt_at = rest.find(",s=") + 3;
        const auto salt =
            protocol::base64_decode(rest.substr(salt_at, rest.find(",i=") - salt_at)).value_or("");
        const auto iterations =
            static_cast<std::uint32_t>(std::stoul(rest.substr(rest.find(",i=") + 3)));
        const auto without_proof = "c=biws,r=" + nonce;
        const auto auth_message = scram_first_ + "," + rest + "," + without_proof;
        const auto salted = salted_password(protocol::secret(password), salt, iterations);
        const auto client_key = protocol::hmac_sha256(salted.reveal(), "Client Key");
        const auto signature = protocol::hmac_sha256(protocol::sha256(client_key), auth_message);
        put(password_message(
            without_proof +
            ",p=" + protocol::base64_encode(protocol::exclusive_or(client_key, signature))));
    }
}

void fake_client::check_welcome() {
    if (plan_.console) {
        return;
    }
    for (const auto& [name, value] : model_.reported()) {
        if (seen_[name] != value) {
            wrong("was welcomed with " + name + "='" + seen_[name] + "' instead of '" + value +
                  "'");
        }
    }
    const auto spoken = protocol::spoken_minor_version(plan_.minor_version);
    if (key_.size() != 4 + protocol::own_cancel_key_bytes(spoken)) {
        wrong("was welcomed with a cancel key of " + std::to_string(key_.size()) + " bytes");
    }
    if (negotiated_ != (spoken != plan_.minor_version)) {
        wrong("was, or was not, told which protocol is spoken");
    }
    if (plan_.provokes == client_plan::refusal::password ||
        plan_.provokes == client_plan::refusal::database) {
        wrong("was let in");
    }
}

void fake_client::login_message(const message& m) {
    switch (static_cast<protocol::backend>(m.type)) {
    case protocol::backend::negotiate_protocol_version:
        negotiated_ = true;
        break;
    case protocol::backend::authentication:
        answer_authentication(m);
        break;
    case protocol::backend::parameter_status:
        answer(m);
        break;
    case protocol::backend::backend_key_data:
        key_ = m.body;
        break;
    case protocol::backend::ready_for_query:
        check_welcome();
        phase_ = phase::ready;
        make_up_conversation();
        think();
        break;
    case protocol::backend::error_response:
        fatal(essence(m));
        break;
    default:
        wrong(std::string("got a message of type ") + m.type + " before its login was complete");
    }
}

// Bytes ------------------------------------------------------------------------------------------

void fake_client::on_arrival() {
    if (plan_.reads_after == duration(0)) {
        read_some();
    } else if (!reading_later_) {
        reading_later_ = true;
        after(shared_.random.between(duration(0), plan_.reads_after), &fake_client::read_some);
    }
}

void fake_client::read_some() {
    reading_later_ = false;
    if (phase_ == phase::done) {
        return;
    }
    const auto there = end_->readable();
    auto count = there.size();
    if (plan_.reads_after != duration(0)) {
        count = std::min<std::size_t>(count, shared_.random.between(1, 4'096));
    }
    in_ += there.substr(0, count);
    end_->take(count);
    if (phase_ == phase::tls && !in_.empty()) {
        if (in_[0] == 'E') {
            phase_ = phase::login; // an error instead of an answer: shutdown
        } else {
            if (in_[0] != 'N') {
                wrong("asked for TLS and got neither N nor an error");
            }
            in_.erase(0, 1);
            send_startup();
        }
    }
    std::size_t at = 0;
    while (in_.size() - at >= protocol::header_bytes && phase_ != phase::done) {
        const auto head = protocol::read_header(protocol::as_bytes(in_).subspan(at));
        if (!head.plausible()) {
            wrong("got bytes that are no message");
            finished();
            return;
        }
        if (in_.size() - at < head.frame_bytes()) {
            break;
        }
        receive({head.type, in_.substr(at + protocol::header_bytes, head.body_bytes())});
        at += head.frame_bytes();
    }
    in_.erase(0, at);
    if (phase_ == phase::done) {
        return;
    }
    if (!end_->readable().empty()) {
        on_arrival();
        if (plan_.reads_after == duration(0)) {
            return;
        }
    } else if (end_->at_end()) {
        ended();
    }
}

void fake_client::receive(message m) {
    shared_.trace(plan_.number, "client<",
                  [&] { return tag_ + " gets " + m.type + ' ' + essence(m).substr(0, 120); });
    if (vanished_ || (phase_ == phase::leaving && !outstanding())) {
        return;
    }
    if (!fatal_.empty()) {
        wrong("got a message after a FATAL");
        return;
    }
    if (phase_ == phase::login) {
        login_message(m);
        return;
    }
    heard_ += m.type;
    answer(m);
}

void fake_client::put(std::string bytes) {
    out_ += bytes;
    pump_out();
}

void fake_client::pump_out() {
    if (sending_paused_ || out_.empty() || phase_ == phase::done) {
        return;
    }
    auto count = out_.size();
    if (plan_.fragments) {
        count = plan_.single_bytes ? 1 : shared_.random.between(1, count);
    }
    const bool vanishes = sent_bytes_ + count >= plan_.vanishes_after_bytes;
    if (vanishes) {
        count = plan_.vanishes_after_bytes - sent_bytes_;
    }
    const auto sent = end_->send(std::string_view(out_).substr(0, count));
    out_.erase(0, sent);
    sent_bytes_ += sent;
    if (vanishes && sent_bytes_ >= plan_.vanishes_after_bytes) {
        vanish();
        return;
    }
    if (out_.empty() && closes_when_sent_) {
        finished();
    } else if (out_.empty() && half_close_when_sent_) {
        half_closed_ = true;
        end_->finish();
    } else if (sent < count) {
        if (!end_->broken()) {
            end_->wait_room();
        }
    } else if (!out_.empty()) {
        sending_paused_ = true;
        const bool stalls = !plan_.single_bytes && shared_.random.chance(5);
        after(shared_.random.between(duration(0), stalls ? milliseconds(300) : milliseconds(2)),
              &fake_client::on_room);
    }
}

void fake_client::on_room() {
    sending_paused_ = false;
    pump_out();
}

// Coming and going -------------------------------------------------------------------------------

/// Decides what to do next, now that it may.
void fake_client::think() {
    if (thinking_ || phase_ != phase::ready) {
        return;
    }
    if (plan_.converses) {
        if (wait_is_over()) {
            thinking_ = true;
            after(shared_.random.between(duration(0), plan_.thinks), &fake_client::go_on);
        }
        return;
    }
    const bool may_send = units_.size() < plan_.pipeline * 4 &&
                          (!outstanding() || (plan_.pipeline > 1 && !must_sync_));
    if (requests_left_ == 0 ? !outstanding() && console_owed_ == 0
                            : may_send && (console_owed_ == 0)) {
        thinking_ = true;
        after(shared_.random.between(duration(0), plan_.thinks), &fake_client::leave);
    }
}

/// Sends the next request, or leaves.
void fake_client::leave() {
    thinking_ = false;
    if (phase_ != phase::ready) {
        return;
    }
    if (requests_left_ != 0) {
        --requests_left_;
        send_request();
        think();
        return;
    }
    if (outstanding()) {
        return;
    }
    phase_ = phase::leaving;
    const auto how = shared_.random.below(4);
    shared_.trace(plan_.number, "leave", [&] { return tag_; });
    if (how < 2) {
        put(std::string("X\0\0\0\4", 5));
    }
    closes_when_sent_ = how != 0; // else it waits for the end
    if (closes_when_sent_ && out_.empty()) {
        finished();
    }
}

void fake_client::vanish() {
    vanished_ = true;
    shared_.fault("");
    shared_.trace(plan_.number, "vanish", [&] { return tag_ + " vanishes"; });
    if (shared_.random.chance(30)) {
        end_->finish(); // says nothing more, but goes on reading for a while
        phase_ = phase::leaving;
        after(milliseconds(200), &fake_client::finished);
        return;
    }
    finished();
}

void fake_client::finished() {
    if (phase_ != phase::done) {
        phase_ = phase::done;
        end_->close();
    }
}

void fake_client::hurry() {
    requests_left_ = 0;
    plan_.fragments = false;
    plan_.thinks = std::min<duration>(plan_.thinks, milliseconds(1));
    plan_.reads_after = std::min<duration>(plan_.reads_after, milliseconds(1));
    if (phase_ == phase::before) {
        phase_ = phase::done;
    }
    if (must_sync_ && phase_ == phase::ready) {
        sync();
    }
    think();
}

void fake_client::cut() {
    if (end_ && phase_ != phase::done) {
        cut_ = true;
        shared_.fault("");
        shared_.trace(plan_.number, "cut", [&] { return tag_ + " loses its connection"; });
        end_->cut();
    }
}

/// The engine has closed the connection, or the network has.
void fake_client::ended() {
    // PostgreSQL, too, says nothing to one that has not even sent its startup packet in time.
    const bool too_late = (phase_ == phase::login || phase_ == phase::tls) &&
                          shared_.time.now() - started_at_ >= rules_.login_timeout;
    const bool mine = phase_ == phase::leaving || too_late || may_end();
    heard_everything_ = model_.closed() && !outstanding() && !cut_ && fatal_.empty();
    if (!mine && !cut_ && fatal_.empty() &&
        !((server_trouble() || rules_.shutting_down || garbage_sent_) && !in_.empty())) {
        wrong("was closed without a word");
    }
    shared_.trace(plan_.number, "ended", [&] { return tag_ + " sees the end"; });
    finished();
}

} // namespace pgweir::simulation
