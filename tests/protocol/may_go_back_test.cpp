// PgDog #668, #887: may this server go back? Every combination of the facts.
#include "protocol/may_go_back.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <string>

using namespace pgweir::protocol;

namespace {

// Each doubt, in the order in which it is reported, and how to have it.
struct doubt {
    return_verdict verdict;
    void (*have)(return_facts&);
};
constexpr std::array doubts = {
    doubt{return_verdict::in_doubt, [](return_facts& f) { f.in_doubt = true; }},
    doubt{return_verdict::inside_message, [](return_facts& f) { f.inside_client_message = true; }},
    doubt{return_verdict::inside_message, [](return_facts& f) { f.inside_server_message = true; }},
    doubt{return_verdict::unsent, [](return_facts& f) { f.unsent_to_server = true; }},
    doubt{return_verdict::in_copy, [](return_facts& f) { f.in_copy = true; }},
    doubt{return_verdict::replies_owed, [](return_facts& f) { f.replies_owed = true; }},
    doubt{return_verdict::not_ready,
          [](return_facts& f) { f.ready_seen_since_last_message = false; }},
    doubt{return_verdict::cancel_in_flight, [](return_facts& f) { f.cancel_in_flight = true; }},
    doubt{return_verdict::pinned, [](return_facts& f) { f.pinned = true; }},
};

constexpr return_facts no_doubt = {
    transaction_status::idle, true, false, false, false, false, false, false, false, false};

return_verdict expected(unsigned combination, transaction_status status) {
    const auto first_of = [&](unsigned from, unsigned to) {
        for (auto i = from; i < to; ++i) {
            if ((combination >> i & 1U) != 0) {
                return doubts[i].verdict;
            }
        }
        return return_verdict::yes;
    };
    // What the transaction says comes behind what is under way, before cancels and pins.
    if (const auto verdict = first_of(0, 7); verdict != return_verdict::yes) {
        return verdict;
    }
    if (status == transaction_status::in_transaction) {
        return return_verdict::in_transaction;
    }
    if (status == transaction_status::failed) {
        return return_verdict::failed_transaction;
    }
    if (status != transaction_status::idle) {
        return return_verdict::not_ready;
    }
    return first_of(7, doubts.size());
}

} // namespace

TEST_CASE("may_go_back: every combination") {
    unsigned yes = 0;
    for (unsigned combination = 0; combination < 1U << doubts.size(); ++combination) {
        for (const auto status :
             {transaction_status::idle, transaction_status::in_transaction,
              transaction_status::failed, static_cast<transaction_status>('?')}) {
            auto facts = no_doubt;
            facts.status = status;
            for (unsigned i = 0; i < doubts.size(); ++i) {
                if ((combination >> i & 1U) != 0) {
                    doubts[i].have(facts);
                }
            }
            CAPTURE(combination);
            CAPTURE(static_cast<char>(status));
            CHECK(to_string(may_go_back(facts)) == to_string(expected(combination, status)));
            yes += may_go_back(facts) == return_verdict::yes ? 1U : 0U;
        }
    }
    CHECK(yes == 1);
}

TEST_CASE("may_go_back: each single doubt is a no, with its reason") {
    CHECK(may_go_back(no_doubt) == return_verdict::yes);
    for (const auto& [verdict, have] : doubts) {
        auto facts = no_doubt;
        have(facts);
        CHECK(to_string(may_go_back(facts)) == to_string(verdict));
    }
}

TEST_CASE("may_go_back: facts that nobody filled in are doubts") {
    CHECK(may_go_back({}) != return_verdict::yes);
    return_facts facts;
    facts.status = transaction_status::idle;
    facts.ready_seen_since_last_message = true;
    CHECK(may_go_back(facts) != return_verdict::yes);
}

TEST_CASE("may_go_back: verdicts have names") {
    std::set<std::string> names;
    for (unsigned v = 0; v <= static_cast<unsigned>(return_verdict::pinned); ++v) {
        names.insert(std::string(to_string(static_cast<return_verdict>(v))));
    }
    CHECK(names.size() == 11);
    CHECK_FALSE(names.contains("unknown"));
}
