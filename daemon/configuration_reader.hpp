// Reads the configuration for a reload, on a thread of its own: a network file system may take for
// ever, and a hundred thousand users take seconds, while the ops thread accepts clients and answers
// HTTP and signals. One at a time: who asks meanwhile is served by one more read afterwards, as the
// files may have changed since.
//
// Owner: the service. Thread: the ops thread's; `reading` alone runs elsewhere.
// Tests: tests/daemon/configuration_reader_test.cpp, integration/reload_test.py.
#pragma once

#include "daemon/load_configuration.hpp"
#include "daemon/lookups.hpp"

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgweir::daemon {

class configuration_reader {
public:
    struct outcome {
        loaded_configuration loaded; // its configuration: what is to run, if there is one
        std::vector<std::string> changes = {};
    };
    /// May outlive everything: it knows nothing but what it has been given.
    using reading = std::function<outcome()>;
    /// Nothing: it runs. Else what is wrong.
    using told = std::function<void(std::optional<std::string>)>;
    struct steps {
        std::function<reading()> begin;
        std::function<std::optional<std::string>(outcome)> use;
    };

    configuration_reader(boost::asio::io_context& ops, steps of);
    void read(told done);
    [[nodiscard]] bool is_reading() const { return is_reading_; }

private:
    void begin();
    void finish(outcome what);

    struct question {
        std::uint64_t serial;
        std::shared_ptr<reading> how; // emptied by the thread: it holds the configuration that ran
        bool operator<(const question& other) const { return serial < other.serial; }
    };

    boost::asio::io_context& ops_;
    steps of_;
    bool is_reading_ = false;
    std::uint64_t serial_ = 0;
    std::vector<told> asked_, ask_again_;
    const std::shared_ptr<const void> here_ = std::make_shared<char>();
    lookups<question, std::shared_ptr<outcome>> readings_; // it waits for none at the end
};

} // namespace pgweir::daemon
