#include "daemon/engine/audit_trail.hpp"

#include "protocol/statement_redact.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

constexpr std::size_t longest_shown = 200; // of a statement

} // namespace

void audit_trail::begin_anew() { *this = audit_trail(true); }

void audit_trail::record(std::string_view statement) {
    const auto front = statement.substr(0, front_bytes);
    if (!clean_ || front.empty()) {
        return;
    }
    const auto before = std::find(statements_.begin(), statements_.end(), front);
    if (before != statements_.end()) {
        std::rotate(before, before + 1, statements_.end());
        return;
    }
    if (statements_.size() == most_statements) {
        statements_.erase(statements_.begin());
        ++left_out_;
    }
    statements_.emplace_back(front);
}

std::string audit_trail::statements() const {
    std::vector<std::string> shapes;
    for (const auto& statement : statements_) {
        auto shape = protocol::redact_statement(statement, longest_shown);
        std::erase(shapes, shape);
        shapes.push_back(std::move(shape));
    }
    std::string text = left_out_ != 0 ? std::to_string(left_out_) + " before these" : "";
    for (const auto& shape : shapes) {
        text += text.empty() ? "" : " | ";
        text += shape;
    }
    return text;
}

} // namespace pgweir::daemon
