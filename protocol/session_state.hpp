// What a client has done to its session that another server would not know of, as far as it can be
// told from what the client sends. In transaction mode each kind keeps ("pins") the client on its
// server until it is gone. Whether it is, and whether it has ever been there, PostgreSQL is asked
// when a transaction has ended in which a text spoke of it (pin_question.hpp).
//
// Settings are another matter: what has been set can be asked for when the transaction has ended,
// and be given to any other server (setting_replay.hpp). Until it is known, they pin as well.
//
// Owner: a client. Thread: its worker's. Sans-io. Tests: tests/protocol/session_state_test.cpp.
#pragma once

#include "protocol/name_effects.hpp"
#include "protocol/setting_changes.hpp"
#include "protocol/setting_replay.hpp"
#include "protocol/statement_scan.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace pgweir::protocol {

/// Why a client stays on its server although its transaction has ended. One bit each.
enum class pin_reason : std::uint16_t {
    named_statement = 1 << 0,   // Parse with a name
    unnamed_statement = 1 << 1, // Parse without a name in a batch that did not bind it yet
    setting = 1 << 2,           // SET (not LOCAL), RESET, set_config(…), SET ROLE, …
    listen = 1 << 3,            // LISTEN
    advisory_lock = 1 << 4,     // pg_advisory_lock and its relatives without _xact_
    temporary_object = 1 << 5,  // CREATE TEMP …, SELECT INTO TEMP
    held_cursor = 1 << 6,       // DECLARE … WITH HOLD
    sql_statement = 1 << 7,     // PREPARE
    loaded_library = 1 << 8,    // LOAD; whatever else a process keeps that only its end undoes
    random_seed = 1 << 9,       // setseed()
    large_statement = 1 << 10,  // a statement too large to be seen whole: it may do anything
};

inline constexpr std::size_t pin_reason_count = 11;

[[nodiscard]] std::string_view to_string(pin_reason reason);

class session_state {
public:
    void pin(pin_reason reason) { pins_ |= static_cast<std::uint16_t>(reason); }
    void unpin(pin_reason reason) {
        pins_ = static_cast<std::uint16_t>(pins_ & ~static_cast<unsigned>(reason));
    }
    [[nodiscard]] bool pinned() const { return pins_ != 0; }
    [[nodiscard]] bool has(pin_reason reason) const {
        return (pins_ & static_cast<std::uint16_t>(reason)) != 0;
    }
    [[nodiscard]] std::uint16_t pins() const { return pins_; }

    /// For `./dev bench` alone: no text is looked at from here on, and whatever it does is lost.
    void leave_untracked() { tracked_ = false; }
    [[nodiscard]] bool tracked() const { return tracked_; }

    /// The server is left in a state that nobody else may see (everything but `unnamed_statement`).
    [[nodiscard]] bool dirty() const {
        return (pins_ & ~static_cast<unsigned>(pin_reason::unnamed_statement)) != 0;
    }
    void clear() {
        pins_ = 0;
        to_ask_ = 0;
        never_asked_ = 0;
        pinned_by_.clear();
        hidden_something_ = false;
        suspicious_ = false;
        changed_settings_.clear();
        settings_unknowable_ = false;
        channels_changed_ = false;
        sets_locally_ = false;
    }
    /// DISCARD ALL was carried out. It unloads no library and does not undo setseed().
    void discarded_all() {
        pins_ =
            static_cast<std::uint16_t>(pins_ & (static_cast<unsigned>(pin_reason::loaded_library) |
                                                static_cast<unsigned>(pin_reason::random_seed) |
                                                static_cast<unsigned>(pin_reason::setting)));
        to_ask_ = 0;
        never_asked_ = 0;
        settings_unknowable_ = false;
        changed_settings_.unknown = changed_settings_.hidden_reset = false;
        channels_changed_ = false;
    }

    /// Nobody cares for these (settings session_state: ignore), whatever hides them.
    void ignore(std::uint16_t pins) { ignored_ = pins; }

    /// The text of a Query, of a Parse, or of what a Bind is going to execute, is about to be sent,
    /// and scan() has said this of it (protocol/statement_scan.hpp): pins for what it leaves
    /// behind.
    /// `names`: the same that scan() looked at.
    void statement(std::string_view sql, effect_bits effects, const name_effects* names = nullptr);
    /// What a function that is called by its number hides.
    void call(const statement_effects& effects);
    /// Something has been made in this transaction that hides such things (`changes_names`).
    [[nodiscard]] bool has_hidden_something() const { return hidden_something_; }
    void take_hidden_something() { hidden_something_ = false; }
    /// It may have done what nobody can be asked about, too (`may_hide`): whoever has the server
    /// next must not find it.
    [[nodiscard]] bool suspicious() const { return suspicious_; }

    /// The front of the text that made the latest pin; nothing where it was not a text that did, or
    /// only settings that PostgreSQL can be asked for.
    [[nodiscard]] std::string_view pinned_by() const { return pinned_by_; }

    /// Pins of which PostgreSQL can tell whether what they are for is there.
    static constexpr auto askable =
        static_cast<std::uint16_t>(static_cast<unsigned>(pin_reason::listen) |
                                   static_cast<unsigned>(pin_reason::advisory_lock) |
                                   static_cast<unsigned>(pin_reason::temporary_object) |
                                   static_cast<unsigned>(pin_reason::held_cursor) |
                                   static_cast<unsigned>(pin_reason::sql_statement));
    /// Of these it is to be asked when the transaction has ended. None where the client stays all
    /// the same.
    [[nodiscard]] std::uint16_t pins_to_ask() const {
        const auto due = static_cast<std::uint16_t>(to_ask_ & pins_);
        return due == 0 || stays_anyway() ? std::uint16_t{0} : due;
    }
    /// It is being asked. What texts speak of from here on is asked about afterwards.
    void pins_asked(std::uint16_t about) {
        to_ask_ = static_cast<std::uint16_t>(to_ask_ & ~unsigned{about});
    }
    /// PostgreSQL has told.
    void pins_told(std::uint16_t about, std::uint16_t there) {
        pins_ = static_cast<std::uint16_t>(
            pins_ & ~(unsigned{about} & ~unsigned{there} & ~unsigned{to_ask_}));
    }
    /// PostgreSQL has told this setting. With pg_temp in it any CREATE makes a temporary object.
    void search_path_is(std::string_view path);
    /// … has not told of these, and is to be asked again.
    void ask_again_about(std::uint16_t pins) {
        to_ask_ = static_cast<std::uint16_t>(to_ask_ | pins);
    }

    /// Settings that PostgreSQL can list may have been changed, by what is not told from a text.
    void suspect_settings();
    /// One of whose name nothing is known is being set.
    void unseen_setting();
    /// What is to be asked of PostgreSQL when the transaction has ended; empty: nothing. Of what
    /// is unknown nothing can be: the client stays. The rest is asked all the same, since RESET
    /// may have gone back to what is not the client's.
    [[nodiscard]] const setting_changes& changed_settings() const { return changed_settings_; }
    /// What texts are read under is what the client has last been known to have set. False: this
    /// transaction has set something for itself (SET LOCAL), or PostgreSQL has still to be asked.
    [[nodiscard]] bool reading_is_known() const {
        return !sets_locally_ && !has(pin_reason::setting) && !has(pin_reason::large_statement);
    }
    /// What the client asked for at its start is being set again right behind what resets it:
    /// PostgreSQL is going to tell.
    void start_up_restored(const setting_map& at_start);
    /// PostgreSQL has said an error: what has been set may have been undone.
    void statement_failed() { changed_settings_.failed = !changed_settings_.empty(); }
    /// No transaction is open, and nothing is under way.
    void at_rest() { sets_locally_ = false; }
    [[nodiscard]] bool settings_to_ask() const {
        return has(pin_reason::setting) && changed_settings_.can_be_asked() &&
               !settings_unknowable_;
    }
    /// It is being asked. What is changed from here on is asked for afterwards.
    [[nodiscard]] setting_changes take_changed_settings() {
        const bool unknown = changed_settings_.unknown;
        auto changes = std::exchange(changed_settings_, {});
        changed_settings_.unknown = unknown;
        return changes;
    }
    /// PostgreSQL has told: another server can be made like this one, but for what is unknown.
    /// (Where it cannot, this is not called, and the client stays until something is set again.)
    void settings_known();
    /// … has told that something hidden has changed settings of these: all are to be asked for.
    void settings_doubted(const setting_changes& changes);
    /// … could not be asked: the client stays.
    void settings_unknowable() { settings_unknowable_ = true; }

    /// A text that speaks of channels has been sent, and the server may listen to some. Who has
    /// another connection listen asks which, instead of whether (pins_to_ask()).
    [[nodiscard]] bool channels_to_ask() const {
        return channels_changed_ && has(pin_reason::listen);
    }
    /// It is being asked.
    void channels_asked() {
        channels_changed_ = false;
        pins_asked(static_cast<std::uint16_t>(pin_reason::listen));
    }
    /// It may listen to some, whatever the texts say.
    void ask_about_channels() { channels_changed_ = true; }

private:
    [[nodiscard]] bool stays_anyway() const;

    std::uint16_t pins_ = 0;
    std::uint16_t to_ask_ = 0; // texts have spoken of them since they were last asked about
    std::uint16_t ignored_ = 0;
    std::uint16_t never_asked_ = 0; // they hide more than could be asked about
    bool settings_unknowable_ = false;
    bool tracked_ = true;
    bool hidden_something_ = false;
    bool suspicious_ = false;
    bool channels_changed_ = false;
    bool sets_locally_ = false;
    setting_changes changed_settings_;
    std::string pinned_by_;
};

} // namespace pgweir::protocol
