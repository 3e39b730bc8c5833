#include "protocol/name_effects.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>

namespace pgweir::protocol {

namespace {

bool is_letter(char c) {
    const auto lower = static_cast<char>(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_part_of_word(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '$'; }

std::size_t row_of(std::size_t length) { return std::min<std::size_t>(length, 63); }
std::uint32_t letter_of(std::string_view word) {
    return 1U << (static_cast<unsigned char>(word[0]) & 0x1fU);
}

} // namespace

void name_effects::add(std::string_view name, const hidden_effects& what) {
    if (name.empty() || what.empty()) {
        return;
    }
    std::string as_written;
    for (const char c : name) {
        as_written += c == '"' ? std::string_view("\"\"") : std::string_view(&c, 1);
    }
    name = as_written;
    auto& known = by_name_[lower_case(name)];
    known.always.add(what.always);
    known.on_write.add(what.on_write);
    letters_[row_of(name.size())] |= letter_of(name);
    odd_names_ = odd_names_ || !is_letter(name[0]) ||
                 !std::all_of(name.begin(), name.end(), is_part_of_word);
}

void name_effects::add(std::uint32_t function, const statement_effects& what) {
    if (!what.empty()) {
        by_number_[function].add(what);
    }
}

bool name_effects::may_be(std::string_view word) const {
    return (letters_[row_of(word.size())] & letter_of(word)) != 0;
}

const hidden_effects* name_effects::find(std::string_view name) const {
    if (name.empty() || !may_be(name)) {
        return nullptr;
    }
    auto found = by_name_.find(name);
    if (found == by_name_.end()) {
        found = by_name_.find(lower_case(name));
    }
    return found == by_name_.end() ? nullptr : &found->second;
}

const statement_effects* name_effects::find(std::uint32_t function) const {
    const auto found = by_number_.find(function);
    return found == by_number_.end() ? nullptr : &found->second;
}

bool name_effects::may_be_in(std::string_view sql) const {
    if (!of_all_.empty()) {
        return true;
    }
    if (odd_names_ && sql.find('"') != std::string_view::npos) {
        return true;
    }
    for (std::size_t at = 0; at < sql.size(); ++at) {
        if (!is_letter(sql[at])) {
            continue;
        }
        const auto start = at;
        while (at < sql.size() && is_part_of_word(sql[at])) {
            ++at;
        }
        if (find(sql.substr(start, at - start)) != nullptr) {
            return true;
        }
    }
    return false;
}

} // namespace pgweir::protocol
