// What is remembered of a server between two audits (audit.cpp): whether it was clean at the first,
// and what clients have had it do since, so that a leak found by the second can be laid at the door
// of a statement.
//
// Owner: a server that has been chosen; goes with it from client to client, and from engine to
// engine as a value. Thread: the worker's. Bounded: the latest statements, the front of each.
// Tests: tests/daemon/audit_trail_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

class audit_trail {
public:
    static constexpr std::size_t most_statements = 16;
    static constexpr std::size_t front_bytes = 400; // of each

    /// `clean`: nothing of any client's can be there now.
    explicit audit_trail(bool clean)
        : clean_(clean) {}

    /// It has been audited, and is clean.
    void begin_anew();
    /// A client has asked for this. Nothing is remembered where the leak may be an older one.
    void record(std::string_view statement);
    /// A client has had it, and has it no longer: an audit is due.
    void lease_ended() {
        due_ = true;
        ++leases_;
    }
    /// … but not now.
    void postponed() { ++postponed_; }

    [[nodiscard]] bool due() const { return due_; }
    /// It was clean when the leases began that have ended since.
    [[nodiscard]] bool clean() const { return clean_; }
    [[nodiscard]] std::uint32_t leases() const { return leases_; }
    [[nodiscard]] std::uint32_t times_postponed() const { return postponed_; }
    /// What has been asked for, the latest last, each once and without its literals.
    [[nodiscard]] std::string statements() const;

private:
    std::vector<std::string> statements_; // their fronts
    std::uint32_t left_out_ = 0;
    std::uint32_t leases_ = 0;
    std::uint32_t postponed_ = 0;
    bool due_ = false;
    bool clean_;
};

} // namespace pgweir::daemon
