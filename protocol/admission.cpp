#include "protocol/admission.hpp"

#include <utility>

namespace pgweir::protocol {

namespace {

std::string quoted(std::string_view name) { return "\"" + printable(name) + "\""; }

/// host "…", user "…", database "…", no encryption
std::string description(const admission_subject& subject) {
    auto text = "host " + quoted(subject.host) + ", user " + quoted(subject.user) + ", ";
    if (subject.replication != replication_kind::physical) { // that one names no database
        text += "database " + quoted(subject.database) + ", ";
    }
    return text + (subject.tls ? "SSL encryption" : "no encryption");
}

admission_refusal refusal(std::string text) {
    admission_refusal result;
    result.log_reason = text;
    result.words.message = std::move(text);
    return result;
}

} // namespace

admission_refusal no_entry_for(const admission_subject& subject) {
    const bool physical = subject.replication == replication_kind::physical;
    return refusal(std::string("no pg_hba.conf entry for ") +
                   (physical ? "replication connection from " : "") + description(subject));
}

admission_refusal rejected_by_entry(const admission_subject& subject) {
    const bool physical = subject.replication == replication_kind::physical;
    return refusal(std::string("pg_hba.conf rejects ") +
                   (physical ? "replication connection" : "connection") + " for " +
                   description(subject));
}

} // namespace pgweir::protocol
