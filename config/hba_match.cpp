// Which rule counts for a client, in the order of PostgreSQL's check_hba(). See hba.hpp.
#include "config/hba.hpp"

#include <algorithm>

namespace pgweir::config {
namespace {

enum class answer : std::uint8_t { no, depends, yes };

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_ignoring_case(std::string_view left, std::string_view right) {
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [](char a, char b) { return lower(a) == lower(b); });
}

/// `.example.com` matches what ends in it, and has something in front.
bool is_host_of(std::string_view pattern, std::string_view name) {
    if (!pattern.starts_with('.')) {
        return same_ignoring_case(pattern, name);
    }
    return name.size() > pattern.size() &&
           same_ignoring_case(pattern, name.substr(name.size() - pattern.size()));
}

class matcher {
public:
    matcher(const hba_request& request, const hba_facts& facts)
        : request_(request)
        , facts_(facts) {
        if (request_.address) {
            request_.address = without_mapping(*request_.address);
        }
    }

    hba_decision run(const std::vector<hba_rule>& rules) {
        for (const auto& rule : rules) {
            const auto found = matches(rule);
            decision_.peer_name |= found != answer::no && rule.method == hba_method::peer;
            if (found == answer::yes) {
                if (decision_.decided()) {
                    decision_.rule = &rule;
                }
                break;
            }
            if (found == answer::depends) {
                ask();
            }
        }
        return std::move(decision_);
    }

private:
    /// What is certain is looked at before what has to be asked for.
    answer matches(const hba_rule& rule) {
        groups_.clear();
        asks_host_name_ = false;
        if (!fits_connection(rule.connection)) {
            return answer::no;
        }
        const auto address =
            rule.connection == hba_connection::local ? answer::yes : fits(rule.address);
        if (address == answer::no) {
            return answer::no;
        }
        const auto database =
            any_of(rule.databases, [&](const hba_name& each) { return is_database(each); });
        if (database == answer::no) {
            return answer::no;
        }
        const auto user = any_of(rule.users, [&](const hba_name& each) { return is_user(each); });
        return std::min({address, database, user});
    }

    void ask() {
        decision_.host_name |= asks_host_name_;
        for (const auto& group : groups_) {
            auto& list = decision_.groups;
            if (std::find(list.begin(), list.end(), group) == list.end()) {
                list.push_back(group);
            }
        }
    }

    [[nodiscard]] bool fits_connection(hba_connection wanted) const {
        if (!request_.address) {
            return wanted == hba_connection::local;
        }
        switch (wanted) {
        case hba_connection::local:
        case hba_connection::hostgssenc:
            return false;
        case hba_connection::host:
        case hba_connection::hostnogssenc:
            return true;
        case hba_connection::hostssl:
            return request_.tls;
        case hba_connection::hostnossl:
            return !request_.tls;
        }
        return false;
    }

    answer fits(const hba_address& wanted) {
        const auto& own = facts_.own_networks;
        const auto& client = *request_.address;
        const auto sure = [](bool is) { return is ? answer::yes : answer::no; };
        if (std::holds_alternative<any_address>(wanted)) {
            return answer::yes;
        }
        if (std::holds_alternative<same_host>(wanted)) {
            return sure(std::any_of(own.begin(), own.end(),
                                    [&](const network& each) { return each.address == client; }));
        }
        if (std::holds_alternative<same_network>(wanted)) {
            return sure(std::any_of(own.begin(), own.end(),
                                    [&](const network& each) { return each.contains(client); }));
        }
        if (const auto* range = std::get_if<network>(&wanted)) {
            return sure(range->contains(client));
        }
        if (!facts_.host_name) {
            asks_host_name_ = true;
            return answer::depends;
        }
        return sure(!facts_.host_name->empty() &&
                    is_host_of(std::get<named_host>(wanted).name, *facts_.host_name));
    }

    template <typename Test>
    answer any_of(const std::vector<hba_name>& list, Test test) {
        auto result = answer::no;
        const auto asked_before = groups_.size();
        for (const auto& each : list) {
            result = std::max(result, test(each));
            if (result == answer::yes) {
                groups_.resize(asked_before); // it does not matter any more
                break;
            }
        }
        return result;
    }

    answer is_member(std::string_view group) {
        if (group == request_.user) {
            return answer::yes;
        }
        const auto known = facts_.is_member ? facts_.is_member(group) : std::nullopt;
        if (!known) {
            groups_.emplace_back(group);
            return answer::depends;
        }
        return *known ? answer::yes : answer::no;
    }

    answer is_database(const hba_name& wanted) {
        const auto sure = [](bool is) { return is ? answer::yes : answer::no; };
        if (request_.physical_replication) { // which names no database
            return sure(wanted.is == hba_name::kind::replication);
        }
        switch (wanted.is) {
        case hba_name::kind::all:
            return answer::yes;
        case hba_name::kind::same_user:
            return sure(request_.database == request_.user);
        case hba_name::kind::same_role:
            return is_member(request_.database);
        case hba_name::kind::name:
            return sure(wanted.text == request_.database);
        case hba_name::kind::pattern:
            return sure(wanted.pattern->matches(request_.database));
        case hba_name::kind::replication:
        case hba_name::kind::group:
            return answer::no;
        }
        return answer::no;
    }

    answer is_user(const hba_name& wanted) {
        const auto sure = [](bool is) { return is ? answer::yes : answer::no; };
        switch (wanted.is) {
        case hba_name::kind::all:
            return answer::yes;
        case hba_name::kind::group:
            return is_member(wanted.text);
        case hba_name::kind::name:
            return sure(wanted.text == request_.user);
        case hba_name::kind::pattern:
            return sure(wanted.pattern->matches(request_.user));
        case hba_name::kind::same_user:
        case hba_name::kind::same_role:
        case hba_name::kind::replication:
            return answer::no;
        }
        return answer::no;
    }

    hba_request request_;
    const hba_facts& facts_;
    hba_decision decision_;
    // Of the rule that is being looked at.
    std::vector<std::string> groups_;
    bool asks_host_name_ = false;
};

} // namespace

hba_decision decide(const std::vector<hba_rule>& rules, const hba_request& request,
                    const hba_facts& facts) {
    return matcher(request, facts).run(rules);
}

} // namespace pgweir::config
