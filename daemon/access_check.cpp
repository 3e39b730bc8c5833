// See access_check.hpp.
#include "daemon/access_check.hpp"

#include "config/console_names.hpp"
#include "daemon/host_facts.hpp"

#include <algorithm>

namespace pgweir::daemon {
namespace {

using config::hba_method;

std::string what_is_asked(hba_method method) {
    switch (method) {
    case hba_method::trust:
        return "the client is let in without any proof";
    case hba_method::reject:
        return "the client is refused";
    case hba_method::password:
        return "the client has to send the password, in clear text";
    case hba_method::md5:
        return "the client has to prove with MD5 that it knows the password, or with SCRAM where "
               "only a verifier of it is known";
    case hba_method::scram_sha_256:
        return "the client has to prove with SCRAM that it knows the password";
    case hba_method::cert:
        return "the client has to have a certificate";
    case hba_method::peer:
        break; // meaning_of()
    }
    return {};
}

std::string meaning_of(const config::hba_rule& rule) {
    // With a map being called like the user is not enough.
    const auto stands_for = rule.map.empty() ? std::string("the user")
                                             : "one that the map '" + rule.map + "' makes the user";
    if (rule.method == hba_method::peer) {
        return "the system has to say that the client is " + stands_for + "\n";
    }
    auto result = what_is_asked(rule.method);
    if (rule.certificate == config::client_certificate::verify_ca) {
        result += ", and has to have a certificate that the CA has signed";
    } else if (rule.certificate == config::client_certificate::verify_full) {
        result += rule.method == hba_method::cert ? "" : ", and has to have a certificate";
        result += rule.name == config::certificate_name::subject ? " whose subject is "
                                                                 : " whose common name is ";
        result += stands_for;
    }
    return result + "\n";
}

/// What no line can change; empty: nothing.
std::string without_any_line(const config::configuration& of, const access_question& question,
                             const std::string& database) {
    const bool local = question.address == "local";
    const bool offered = !of.tls_certificate.empty() && of.tls != config::tls_mode::disable;
    if (!local && question.tls && !offered) {
        return "no client has TLS: there is no tls.certificate, or tls.mode is disable\n";
    }
    if (!local && !question.tls && of.tls >= config::tls_mode::require) {
        return "tls.mode lets nobody in over TCP without TLS\n";
    }
    if (of.find_user(question.user) == nullptr && of.query_user.empty()) {
        return "there is no such user: neither in users nor in auth.userlist\n";
    }
    if (!question.replication && !of.find_database(database) && !config::is_console(database)) {
        return "there is no such database\n";
    }
    return {};
}

std::string method_without_rules(config::auth_method method) {
    switch (method) {
    case config::auth_method::trust:
        return what_is_asked(hba_method::trust);
    case config::auth_method::password:
        return what_is_asked(hba_method::password);
    case config::auth_method::md5:
        return what_is_asked(hba_method::md5);
    case config::auth_method::scram_sha_256:
        return what_is_asked(hba_method::scram_sha_256);
    }
    return {};
}

config::hba_facts facts_about(const access_question& question) {
    config::hba_facts facts;
    facts.own_networks = own_networks();
    facts.host_name = question.host_name;
    if (question.groups) {
        facts.is_member = [&question](std::string_view group) -> std::optional<bool> {
            const auto& list = *question.groups;
            return std::find(list.begin(), list.end(), group) != list.end();
        };
    }
    return facts;
}

} // namespace

explained_access explain_access(const config::configuration& of, const std::string& file,
                                const access_question& question) {
    const auto address = config::read_address(question.address);
    if (!address && question.address != "local") {
        return {.answer = access_answer::error,
                .text = "the address must be an IPv4 or IPv6 address, or local\n"};
    }
    const auto& database = question.database.empty() ? question.user : question.database;
    const auto hopeless = without_any_line(of, question, database);
    const auto answer = hopeless.empty() ? access_answer::let_in : access_answer::refused;
    if (of.hba_rules.empty()) {
        return {.answer = answer,
                .text = "there are no access rules: auth.method counts for everybody\n" +
                        method_without_rules(of.auth) + "\n" + hopeless};
    }
    const config::hba_request request{.database = database,
                                      .user = question.user,
                                      .physical_replication = question.replication,
                                      .address = address,
                                      .tls = question.tls};
    auto facts = facts_about(question);
    auto made = config::decide(of.hba_rules, request, facts);
    if (made.host_name && address) {
        facts.host_name = confirmed_host_name(*address);
        made = config::decide(of.hba_rules, request, facts);
    }
    if (!made.decided()) {
        std::string text = "it depends on whether the user is in one of these groups:";
        for (const auto& group : made.groups) {
            text += " " + group;
        }
        return {.answer = access_answer::unknown, .text = text + " (--member-of)\n"};
    }
    if (made.rule == nullptr) {
        return {.answer = access_answer::refused,
                .text = "no line matches: the client is refused\n"};
    }
    const auto& rule = *made.rule;
    const bool refused = rule.method == hba_method::reject;
    return {.answer = refused ? access_answer::refused : answer,
            .text = (rule.file.empty() ? file : rule.file) + ":" + std::to_string(rule.line) +
                    ": " + rule.text + "\n" + meaning_of(rule) + hopeless};
}

} // namespace pgweir::daemon
