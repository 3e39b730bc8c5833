// A replay of settings some of which may be those of a library that this server has loaded and the
// client's earlier ones had not.
//
// While a library is not loaded PostgreSQL takes anything for `library.name`, from anybody: a
// placeholder. When the session loads it, a value that the library does not take, that only a
// superuser may set, or that has a name it does not have, is dropped with a WARNING. A server that
// has loaded it already refuses such a value: then it is dropped as well. What no library owns
// (app.tenant) is never refused for one of these reasons. Any other error, or of any other setting,
// refuses the whole.
//
// So that each error is known for what it is about, there is a call for each setting; none ends
// what follows, and nothing of the client's may be sent before all are answered.
//
// Owner: a server, until it is answered. Thread: its worker's. Sans-io.
// Tests: tests/protocol/lenient_replay_test.cpp, integration/library_settings_test.py.
// Source: PostgreSQL documentation, "Customized Options"; define_custom_variable(),
// reapply_stacked_values() and MarkGUCPrefixReserved() in src/backend/utils/misc/guc.c.
#pragma once

#include "protocol/reply_queue.hpp"
#include "protocol/setting_replay.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

/// Some setting that differs may be a library's: its name has a dot.
[[nodiscard]] bool may_be_librarys(const setting_map& carried, const setting_map& wanted);
/// A library may refuse a setting of its own with this.
[[nodiscard]] bool may_be_librarys_refusal(std::string_view sqlstate);

class lenient_replay {
public:
    /// Appends the calls, and to `owed` what they will be answered with.
    lenient_replay(const setting_map& carried, const setting_map& wanted, std::string& out,
                   reply_queue& owed);

    /// An error has come. False: it is no reason to drop the setting.
    [[nodiscard]] bool take_error(std::string_view sqlstate, std::string_view message);
    /// A ReadyForQuery has come that was owed to us.
    void ready_came() { ++answered_; }

    /// What the client's session is to be without.
    [[nodiscard]] const std::vector<std::string>& dropped() const { return dropped_; }
    /// What others have set could not be taken off.
    [[nodiscard]] bool left_over() const { return left_over_; }

private:
    struct call {
        std::string name;
        bool sets;
    };
    std::vector<call> calls_;
    std::size_t before_; // so many ReadyForQuery come before the first call's
    std::size_t answered_ = 0;
    std::vector<std::string> dropped_;
    bool left_over_ = false;
};

/// `settings` but for those.
[[nodiscard]] setting_map without(const setting_map& settings,
                                  const std::vector<std::string>& names);

/// What a server that carries these carries behind RESET ALL: who one is.
[[nodiscard]] setting_map left_by_reset_all(const setting_map& settings);

} // namespace pgweir::protocol
