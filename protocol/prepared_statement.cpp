#include "protocol/prepared_statement.hpp"

#include "protocol/session_state.hpp"
#include "protocol/statement_names.hpp"
#include "protocol/statement_scan.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace pgweir::protocol {

namespace {

// What an entry costs beside its text: the node, the control block, the name.
constexpr std::size_t overhead_bytes = 256;

} // namespace

std::string server_name(const statement_id& id) {
    constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuv"; // 5 bits each
    constexpr unsigned digits_per_word = 13;
    std::string name(server_name_prefix);
    for (auto word : id.words) {
        for (unsigned i = 0; i < digits_per_word; ++i, word >>= 5) {
            name += digits[word & 31];
        }
    }
    return name;
}

void append_parse(std::string& out, std::string_view name, std::string_view definition) {
    message_writer(out).begin(frontend::parse).c_string(name).raw(definition).end();
}

void append_parse(std::string& out, std::string_view name, std::string_view text,
                  std::string_view types) {
    message_writer(out).begin(frontend::parse).c_string(name).c_string(text).raw(types).end();
}

void append_close_statement(std::string& out, std::string_view name) {
    message_writer(out).begin(frontend::close).u8('S').c_string(name).end();
}

effect_bits prepared_statement::effects(const known_names& under) const {
    if (!read || read->version != under.version) {
        read = {under.version, scan(text(), true, under.names)};
        if (by_sql) { // what it says of itself is done
            read->effects &= ~bit_of(pin_reason::sql_statement);
        }
    }
    return read->effects;
}

bool is_definition(bytes definition) {
    body_reader reader(definition);
    reader.c_string();
    const auto types = reader.u16();
    reader.raw(std::size_t{types} * 4);
    return reader.finished();
}

statement_table::statement_table(std::string key, std::size_t max_bytes)
    : key_(std::move(key))
    , max_bytes_(max_bytes) {}

// Clients are gone by now; nobody refers to anything.
statement_table::~statement_table() = default;

statement_id statement_table::identify(std::string_view context, bytes definition,
                                       bool by_sql) const {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(),
                                                                       &EVP_MD_CTX_free);
    const auto add = [&](const void* data, std::uint64_t size) {
        // Each part with its length: no two sets of parts are alike.
        return EVP_DigestUpdate(hash.get(), &size, sizeof size) == 1 &&
               EVP_DigestUpdate(hash.get(), data, size) == 1;
    };
    const bool done = hash != nullptr &&
                      EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) == 1 &&
                      add(key_.data(), key_.size()) && add(context.data(), context.size()) &&
                      add(definition.data(), definition.size()) && (!by_sql || add("SQL", 3)) &&
                      EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr) == 1;
    if (!done) {
        throw std::runtime_error("SHA-256 is not available");
    }
    statement_id id;
    std::memcpy(id.words.data(), digest.data(), sizeof id.words);
    return id;
}

statement_ref statement_table::intern(const reading_context& context, bytes definition,
                                      bool by_sql) {
    const auto id = identify(context.key, definition, by_sql);
    if (const auto found = statements_.find(id); found != statements_.end()) {
        return found->second.lock();
    }
    if (!reserve(definition.size() + overhead_bytes)) {
        return nullptr;
    }
    auto made = std::make_unique<prepared_statement>(
        prepared_statement{.id = id,
                           .name = server_name(id),
                           .definition = std::string(as_text(definition)),
                           .by_sql = by_sql,
                           .of_one_client = context.of_one_client});
    made->names_statements = !statement_names(made->text()).empty();
    statement_ref ref(made.release(), [this](const prepared_statement* what) { forget(what); });
    statements_.emplace(id, ref);
    return ref;
}

bool statement_table::reserve(std::size_t count) {
    if (count > max_bytes_ - std::min(max_bytes_, bytes_)) {
        return false;
    }
    bytes_ += count;
    return true;
}

void statement_table::forget(const prepared_statement* what) {
    statements_.erase(what->id);
    release(what->definition.size() + overhead_bytes);
    delete what;
}

} // namespace pgweir::protocol
