// See script.hpp. Reading first, printing after it; both go through the one table of words.
#include "integration/differential/script.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

namespace pgweir::differential {

namespace {

// How a step is written: its words, and what follows them.
enum class shape : std::uint8_t {
    bare,     // nothing
    text,     // the rest of the line
    name,     // a name
    number,   // an optional number, 1 if it is not there
    parse,    // a name, its types, a colon and the text
    bind,     // two names, values and formats
    execute,  // a name and an optional number
    call,     // a number, values and formats
    raw,      // a message type and its body in quotes
    message,  // the name of a backend message, an optional number
    settings, // name=value …
};

struct row {
    step_kind what;
    std::string_view words;
    shape follows;
};

constexpr std::array rows = {
    row{step_kind::connect, "connect", shape::settings},
    row{step_kind::query, "query", shape::text},
    row{step_kind::parse, "parse", shape::parse},
    row{step_kind::bind, "bind", shape::bind},
    row{step_kind::describe_statement, "describe statement", shape::name},
    row{step_kind::describe_portal, "describe portal", shape::name},
    row{step_kind::execute, "execute", shape::execute},
    row{step_kind::close_statement, "close statement", shape::name},
    row{step_kind::close_portal, "close portal", shape::name},
    row{step_kind::flush, "flush", shape::bare},
    row{step_kind::sync, "sync", shape::bare},
    row{step_kind::function_call, "call", shape::call},
    row{step_kind::copy_data, "data", shape::text},
    row{step_kind::copy_done, "done", shape::bare},
    row{step_kind::copy_fail, "fail", shape::text},
    row{step_kind::terminate, "terminate", shape::bare},
    row{step_kind::raw_message, "message", shape::raw},
    row{step_kind::raw_bytes, "bytes", shape::name},
    row{step_kind::rest, "rest", shape::bare},
    row{step_kind::wait_ready, "wait ready", shape::number},
    row{step_kind::wait_close, "wait close", shape::bare},
    row{step_kind::wait_message, "wait", shape::message},
    row{step_kind::hang_up, "hang up", shape::bare},
    row{step_kind::reset, "reset", shape::bare},
    row{step_kind::half_close, "half close", shape::bare},
    row{step_kind::cancel, "cancel", shape::bare},
    row{step_kind::admin_run, "run", shape::text},
    row{step_kind::admin_check, "check", shape::text},
    row{step_kind::admin_until, "until", shape::text},
    row{step_kind::admin_stop, "stop", shape::text},
    row{step_kind::admin_go_on, "go on", shape::bare},
};

bool is_admin(step_kind what) { return what >= step_kind::admin_run; }

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (is_blank(text.back()) || text.back() == '\r')) {
        text.remove_suffix(1);
    }
    return text;
}

std::optional<std::uint32_t> to_number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

// "{c*N}" at the front of the text: c, N times.
std::optional<std::pair<std::string, std::size_t>> run_at(std::string_view text) {
    const auto close = text.find('}');
    if (text.size() < 5 || text[0] != '{' || text[2] != '*' || close == std::string_view::npos) {
        return std::nullopt;
    }
    const auto count = to_number(text.substr(3, close - 3));
    if (!count) {
        return std::nullopt;
    }
    return std::pair{std::string(*count, text[1]), close + 1};
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (const auto run = run_at(text.substr(i))) {
            out += run->first;
            i += run->second - 1;
        } else if (text[i] != '\\') {
            out += text[i];
        } else if (++i == text.size()) {
            throw script_error("a lone \\ at the end");
        } else if (text[i] == 'x') {
            unsigned value = 0;
            const auto digits = text.substr(i + 1, 2);
            const auto [end, error] =
                std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
            if (error != std::errc() || end != digits.data() + 2) {
                throw script_error("\\x wants two digits");
            }
            out += static_cast<char>(value);
            i += 2;
        } else {
            constexpr std::string_view letters = "ntr\\\"", meanings = "\n\t\r\\\"";
            const auto at = letters.find(text[i]);
            if (at == std::string_view::npos) {
                throw script_error(std::string("unknown escape \\") + text[i]);
            }
            out += meanings[at];
        }
    }
    return out;
}

// Takes words off the front of a line.
class line_reader {
public:
    explicit line_reader(std::string_view line)
        : rest_(trimmed(line)) {}

    [[nodiscard]] bool empty() const { return rest_.empty(); }
    [[nodiscard]] std::string_view rest() const { return rest_; }

    bool take(std::string_view words) {
        if (!rest_.starts_with(words) ||
            (rest_.size() > words.size() && !is_blank(rest_[words.size()]) && words != ":")) {
            return false;
        }
        rest_ = trimmed(rest_.substr(words.size()));
        return true;
    }
    struct word {
        std::string text;
        bool quoted = false;
    };
    word next(std::string_view what) {
        if (rest_.empty()) {
            throw script_error("there should be " + std::string(what));
        }
        std::size_t end = 0;
        if (rest_.front() == '"') {
            for (end = 1; end < rest_.size() && rest_[end] != '"'; ++end) {
                end += rest_[end] == '\\' ? 1 : 0;
            }
            if (end >= rest_.size()) {
                throw script_error("a quote that does not end");
            }
            word w{unescaped(rest_.substr(1, end - 1)), true};
            rest_ = trimmed(rest_.substr(end + 1));
            return w;
        }
        while (end < rest_.size() && !is_blank(rest_[end]) && rest_[end] != ':') {
            ++end;
        }
        word w{unescaped(rest_.substr(0, end)), false};
        rest_ = trimmed(rest_.substr(end));
        return w;
    }
    // A statement's or portal's name; `unnamed` is the empty one.
    std::string name() {
        auto w = next("a name");
        return !w.quoted && w.text == "unnamed" ? std::string() : std::move(w.text);
    }
    std::uint32_t number() {
        const auto w = next("a number");
        const auto value = to_number(w.text);
        if (!value) {
            throw script_error("not a number: " + w.text);
        }
        return *value;
    }
    template <typename Integer>
    std::vector<Integer> numbers() {
        std::vector<Integer> out;
        while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
            out.push_back(static_cast<Integer>(number()));
        }
        return out;
    }

private:
    std::string_view rest_;
};

void read_arguments(line_reader& line, conversation_step& step) {
    if (line.take("values")) {
        while (!line.empty() && line.rest() != "formats" && !line.rest().starts_with("formats ") &&
               !line.rest().starts_with("results ")) {
            auto w = line.next("a value");
            step.values.push_back(!w.quoted && w.text == "null" ? std::nullopt
                                                                : std::optional(std::move(w.text)));
        }
    }
    if (line.take("formats")) {
        step.formats = line.numbers<std::uint16_t>();
    }
    if (line.take("results")) {
        step.results = line.numbers<std::uint16_t>();
    }
}

void read_settings(line_reader& line, conversation_step& step) {
    while (!line.empty()) {
        const auto w = line.next("name=value");
        const auto at = w.text.find('=');
        if (at == std::string::npos) {
            throw script_error("not name=value: " + w.text);
        }
        step.settings.emplace_back(w.text.substr(0, at), w.text.substr(at + 1));
    }
}

void read_what_follows(line_reader& line, shape follows, conversation_step& step) {
    switch (follows) {
    case shape::bare:
        break;
    case shape::text:
        step.text = unescaped(line.rest());
        return;
    case shape::name:
        (step.what == step_kind::raw_bytes ? step.text : step.name) = line.name();
        break;
    case shape::number:
        step.number = line.empty() ? 1 : line.number();
        break;
    case shape::parse:
        step.name = line.name();
        if (line.take("types")) {
            step.types = line.numbers<std::uint32_t>();
        }
        if (!line.take(":")) {
            throw script_error("there should be a colon before the statement's text");
        }
        step.text = unescaped(line.rest());
        return;
    case shape::bind:
        step.name = line.name();
        step.statement = line.name();
        read_arguments(line, step);
        break;
    case shape::execute:
        step.name = line.name();
        step.number = line.empty() ? 0 : line.number();
        break;
    case shape::call:
        step.number = line.number();
        read_arguments(line, step);
        break;
    case shape::raw:
        step.name = line.next("a message type").text;
        step.text = line.empty() ? "" : line.next("a body").text;
        break;
    case shape::message:
        step.name = line.next("the name of a message").text;
        step.number = line.empty() ? 1 : line.number();
        break;
    case shape::settings:
        read_settings(line, step);
        break;
    }
    if (!line.empty()) {
        throw script_error("too much: " + std::string(line.rest()));
    }
}

conversation_step read_step(std::string_view text, char client, bool admin) {
    line_reader line(text);
    conversation_step step;
    step.client = client;
    if (line.take("first")) {
        step.cut = line.number();
        if (!line.take("bytes of")) {
            throw script_error("there should be \"bytes of\"");
        }
    }
    for (const auto& r : rows) {
        if (is_admin(r.what) == admin && line.take(r.words)) {
            step.what = r.what;
            read_what_follows(line, r.follows, step);
            if (step.cut && !test::is_message(step.what)) {
                throw script_error("only a message has first bytes");
            }
            return step;
        }
    }
    throw script_error("unknown step: " + std::string(text));
}

struct numbered_line {
    std::size_t number;
    std::string text;
};

std::string with_index(std::string text, std::size_t index) {
    for (auto at = text.find("%i"); at != std::string::npos; at = text.find("%i", at)) {
        text.replace(at, 2, std::to_string(index));
    }
    return text;
}

// The lines of a file without comments, `repeat N` … `end` unrolled.
std::vector<numbered_line> lines_of(std::string_view text) {
    std::vector<numbered_line> out, block;
    std::uint32_t times = 0;
    bool in_block = false;
    std::istringstream in{std::string(text)};
    std::string raw;
    for (std::size_t number = 1; std::getline(in, raw); ++number) {
        const auto line = trimmed(raw);
        line_reader words(line);
        if (line.empty() || line.front() == '#') {
            continue;
        }
        if (words.take("repeat")) {
            times = words.number();
            in_block = true;
            block.clear();
        } else if (line == "end") {
            for (std::uint32_t i = 0; i < times; ++i) {
                for (const auto& l : block) {
                    out.push_back({l.number, with_index(l.text, i)});
                }
            }
            times = 0;
            in_block = false;
        } else {
            (in_block ? block : out).push_back({number, std::string(line)});
        }
    }
    if (in_block) {
        throw script_error("repeat without end");
    }
    return out;
}

void read_line(const std::string& line, script& s) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) {
        throw script_error("no colon: " + line);
    }
    const auto who = line.substr(0, colon);
    const auto what = trimmed(std::string_view(line).substr(colon + 1));
    if (who == "guards") {
        s.guards = what;
    } else if (who == "servers") {
        s.servers = line_reader(what).number();
    } else if (who == "setup") {
        s.setup.push_back(unescaped(what));
    } else if (who == "teardown") {
        s.teardown.push_back(unescaped(what));
    } else if (who == "admin") {
        s.steps.push_back(read_step(what, '-', true));
    } else if (who.size() == 1 && who[0] >= 'a' && who[0] <= 'z') {
        s.steps.push_back(read_step(what, who[0], false));
    } else {
        throw script_error("nobody is called " + who);
    }
}

// ---- Printing.

std::string printed_name(std::string_view name) {
    if (name.empty()) {
        return "unnamed";
    }
    const bool plain =
        name != "unnamed" && name != "null" && std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '_';
        });
    return plain ? std::string(name) : '"' + escaped(name) + '"';
}

std::string printed_value(const std::optional<std::string>& value) {
    return value ? '"' + escaped(*value) + '"' : "null";
}

template <typename Integer>
std::string printed_list(std::string_view word, const std::vector<Integer>& list) {
    std::string out;
    for (const auto value : list) {
        out += (out.empty() ? " " + std::string(word) + " " : " ") + std::to_string(value);
    }
    return out;
}

std::string printed_arguments(const conversation_step& step) {
    std::string out;
    for (const auto& value : step.values) {
        out += (out.empty() ? " values " : " ") + printed_value(value);
    }
    return out + printed_list("formats", step.formats) + printed_list("results", step.results);
}

// The rest of a line loses blanks at both ends when it is read.
std::string printed_text(std::string_view text) {
    auto out = escaped(text);
    if (!out.empty() && out.back() == ' ') {
        out.replace(out.size() - 1, 1, "\\x20");
    }
    if (!out.empty() && out.front() == ' ') {
        out.replace(0, 1, "\\x20");
    }
    return out;
}

std::string printed_settings(const conversation_step& step) {
    std::string out;
    for (const auto& [name, value] : step.settings) {
        out += " \"" + escaped(name + "=" + value) + '"';
    }
    return out;
}

std::string what_follows(const conversation_step& step, shape follows) {
    const auto number = [&](std::uint32_t usual) {
        return step.number == usual ? std::string() : " " + std::to_string(step.number);
    };
    switch (follows) {
    case shape::bare:
        break;
    case shape::text:
        return step.text.empty() ? "" : " " + printed_text(step.text);
    case shape::name:
        return step.what == step_kind::raw_bytes ? " \"" + escaped(step.text) + '"'
                                                 : " " + printed_name(step.name);
    case shape::number:
        return number(1);
    case shape::parse:
        return " " + printed_name(step.name) + printed_list("types", step.types) +
               (step.text.empty() ? " :" : " : " + printed_text(step.text));
    case shape::bind:
        return " " + printed_name(step.name) + " " + printed_name(step.statement) +
               printed_arguments(step);
    case shape::execute:
        return " " + printed_name(step.name) + number(0);
    case shape::call:
        return " " + std::to_string(step.number) + printed_arguments(step);
    case shape::raw:
        return " \"" + escaped(step.name) + "\" \"" + escaped(step.text) + '"';
    case shape::message:
        return " " + step.name + number(1);
    case shape::settings:
        return printed_settings(step);
    }
    return {};
}

} // namespace

script read_script(std::string_view name, std::string_view text) {
    script s;
    s.name = name;
    for (const auto& [number, line] : lines_of(text)) {
        try {
            read_line(line, s);
        } catch (const script_error& error) {
            throw script_error(s.name + ":" + std::to_string(number) + ": " + error.what());
        }
    }
    if (s.guards.empty()) {
        throw script_error(s.name + ": does not say what it guards");
    }
    return s;
}

script read_script_file(const std::string& path) {
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) {
        throw script_error("cannot read " + path);
    }
    const auto slash = path.rfind('/');
    const auto file = slash == std::string::npos ? path : path.substr(slash + 1);
    return read_script(file.substr(0, file.rfind('.')), text.str());
}

std::string to_line(const conversation_step& step) {
    const auto& r = *std::find_if(rows.begin(), rows.end(),
                                  [&](const auto& each) { return each.what == step.what; });
    auto out = is_admin(step.what) ? std::string("admin: ") : std::string(1, step.client) + ": ";
    if (step.cut) {
        out += "first " + std::to_string(*step.cut) + " bytes of ";
    }
    return out + std::string(r.words) + what_follows(step, r.follows);
}

std::string to_text(const script& s) {
    std::string out = "guards: " + s.guards + "\n";
    if (s.servers != 1) {
        out += "servers: " + std::to_string(s.servers) + "\n";
    }
    for (const auto& sql : s.setup) {
        out += "setup: " + escaped(sql) + "\n";
    }
    for (const auto& step : s.steps) {
        out += to_line(step) + "\n";
    }
    for (const auto& sql : s.teardown) {
        out += "teardown: " + escaped(sql) + "\n";
    }
    return out;
}

std::string escaped(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    constexpr std::size_t long_run = 40;
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const auto run_end = std::min(text.find_first_not_of(c, i), text.size());
        if (run_end - i >= long_run && c > ' ' && c < 127 && c != '\\' && c != '"') {
            out += std::string("{") + c + "*" + std::to_string(run_end - i) + "}";
            i = run_end - 1;
        } else if (c == '\n' || c == '\t' || c == '\r' || c == '\\' || c == '"') {
            constexpr std::string_view meanings = "\n\t\r\\\"", letters = "ntr\\\"";
            out += '\\';
            out += letters[meanings.find(c)];
        } else if (c < ' ' || c > 126 || (c == '{' && i + 2 < text.size() && text[i + 2] == '*')) {
            out += "\\x";
            out += digits[static_cast<unsigned char>(c) >> 4U];
            out += digits[static_cast<unsigned char>(c) & 0xfU];
        } else {
            out += c;
        }
    }
    return out;
}

} // namespace pgweir::differential
