// See player.hpp.
#include "integration/differential/player.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pgweir::differential {

namespace {

// "ParseComplete|ErrorResponse": either of them.
std::string types_of(std::string_view names) {
    std::string types;
    while (!names.empty()) {
        const auto end = std::min(names.find('|'), names.size());
        const char type = type_of(names.substr(0, end));
        if (type == 0) {
            throw std::runtime_error("there is no message called " +
                                     std::string(names.substr(0, end)));
        }
        types += type;
        names.remove_prefix(std::min(end + 1, names.size()));
    }
    return types;
}

} // namespace

transcripts player::play(const script& s, const place& where) {
    where_ = where;
    told_ = {};
    remarks_.clear();
    actors_.clear();
    for (const auto& sql : s.setup) {
        admin_.run(sql);
    }
    try {
        for (const auto& step : s.steps) {
            perform(step);
        }
        send_all();
        say_goodbye();
    } catch (const hang& h) {
        told_.hung = true;
        note('-', "(nothing came, waiting for: " + h.what + ")");
    }
    admin_.go_on();
    write_down();
    actors_.clear();
    if (!admin_.until(admin::quiet, deadline())) {
        told_.hung = true;
        note('-', "(somebody is still at it after everybody has left)");
    }
    for (const auto& sql : s.teardown) {
        admin_.run(sql);
    }
    return std::exchange(told_, {});
}

player::actor& player::on_stage(char client) {
    const auto [at, is_new] = actors_.try_emplace(client);
    if (is_new) {
        connect(at->second, client, nullptr);
    }
    return at->second;
}

void player::connect(actor& who, char client, const conversation_step* step) {
    wire_client::settings settings = {{"user", where_.user}, {"database", where_.database}};
    if (step != nullptr) {
        settings.insert(settings.end(), step->settings.begin(), step->settings.end());
    }
    who.wire.connect(where_.at, test::encode_startup(settings));
    if (who.wire.wait_for_login(deadline()) == wire_client::outcome::timed_out) {
        throw hang{std::string(1, client) + "'s login"};
    }
    // The welcome is a matter of scripts that say `connect`: those of the others would all say the
    // same of it.
    if (step == nullptr && !who.wire.ended() && who.wire.received().back().type == 'Z') {
        who.wire.forget_everything();
    }
}

void player::perform(const conversation_step& step) {
    if (step.what >= step_kind::admin_run) {
        send_all();
        return perform_outside(step);
    }
    if (step.what == step_kind::connect) {
        send_all();
        // Again under the same letter: another session, whose transcript follows the first one's.
        const auto [at, is_new] = actors_.try_emplace(step.client);
        if (!is_new) {
            throw std::runtime_error(std::string(1, step.client) + " is connected already");
        }
        return connect(at->second, step.client, &step);
    }
    auto& who = on_stage(step.client);
    if (test::is_message(step.what) || step.what == step_kind::rest) {
        for (auto& [letter, other] : actors_) {
            if (letter != step.client && !other.unsent.empty()) {
                send_all();
                break;
            }
        }
        return send(who, step);
    }
    send_all();
    step.what >= step_kind::hang_up ? leave(who, step) : wait(who, step);
}

void player::perform_outside(const conversation_step& step) {
    switch (step.what) {
    case step_kind::admin_run:
        return admin_.run(step.text);
    case step_kind::admin_check:
        for (auto& line : admin_.check(step.text)) {
            note('-', std::move(line));
        }
        return;
    case step_kind::admin_stop:
        if (!admin_.stop(step.text, deadline())) {
            throw hang{to_line(step)};
        }
        return;
    case step_kind::admin_go_on:
        return admin_.go_on();
    default:
        if (!admin_.until(step.text == "quiet" ? admin::quiet : step.text, deadline())) {
            throw hang{to_line(step)};
        }
    }
}

void player::send(actor& who, const conversation_step& step) {
    if (step.what == step_kind::rest) {
        who.unsent += std::exchange(who.held, {});
        return;
    }
    auto message = encode(step);
    if (step.cut && *step.cut < message.size()) {
        who.held = message.substr(*step.cut);
        message.resize(*step.cut);
    }
    who.unsent += message;
    // What must not wait for more: a part of a message is about what happens before its rest comes.
    if (step.cut || who.unsent.size() > 1'000'000) {
        send_all();
    }
}

void player::send_all() {
    for (auto& [letter, who] : actors_) {
        const auto bytes = std::exchange(who.unsent, {});
        if (!bytes.empty() && who.wire.connected() &&
            who.wire.send(bytes, deadline()) == wire_client::outcome::timed_out) {
            throw hang{std::string(1, letter) + "'s bytes being taken"};
        }
    }
}

void player::wait(actor& who, const conversation_step& step) {
    auto outcome = wire_client::outcome::done;
    switch (step.what) {
    case step_kind::wait_ready:
        outcome = who.wire.wait_for("Z", step.number, deadline());
        break;
    case step_kind::wait_message:
        outcome = who.wire.wait_for(types_of(step.name), step.number, deadline());
        break;
    default:
        outcome = who.wire.wait_for_close(deadline());
    }
    if (outcome == wire_client::outcome::timed_out) {
        throw hang{to_line(step)};
    }
    if (outcome == wire_client::outcome::closed) {
        remarks_[step.client].push_back("(closed instead of: " + to_line(step) + ")");
    }
}

void player::leave(actor& who, const conversation_step& step) {
    if (step.what == step_kind::half_close) {
        return who.wire.half_close();
    }
    if (step.what == step_kind::cancel) {
        if (who.wire.cancel(deadline()) == wire_client::outcome::timed_out) {
            throw hang{to_line(step) + ", the end of its connection"};
        }
        return;
    }
    // Of what was on its way nobody knows how much came.
    who.wire.forget_what_was_not_waited_for();
    who.left = true;
    step.what == step_kind::reset ? who.wire.reset() : who.wire.close();
}

// Whoever is still there says Terminate and reads to the end: everything that was still to come is
// then in the transcript.
void player::say_goodbye() {
    conversation_step last;
    last.what = step_kind::terminate;
    for (auto& [letter, who] : actors_) {
        if (who.left || !who.wire.connected()) {
            continue;
        }
        if (!who.held.empty()) {
            who.wire.forget_what_was_not_waited_for();
            who.wire.close();
            continue;
        }
        static_cast<void>(who.wire.send(encode(last), deadline()));
        if (who.wire.wait_for_close(deadline()) == wire_client::outcome::timed_out) {
            throw hang{std::string(1, letter) + "'s connection being closed after Terminate"};
        }
    }
}

void player::write_down() {
    for (auto& [letter, who] : actors_) {
        object_names names;
        auto& lines = told_.of[letter];
        for (const auto& message : who.wire.received()) {
            lines.push_back(to_line(message, names));
        }
        for (auto& remark : remarks_[letter]) {
            lines.push_back(std::move(remark));
        }
        if (!told_.hung && !who.left) {
            lines.emplace_back("(the end)");
        }
    }
}

} // namespace pgweir::differential
