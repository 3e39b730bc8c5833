// What the sample pools look like to Prometheus. The names themselves are held in tests/golden.
#include "daemon/metrics.hpp"
#include "daemon/process_usage.hpp"
#include "tests/daemon/ops/sample.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>

using namespace pgweir::daemon;
namespace pool = pgweir::pool;

namespace {

std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> all;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        all.push_back(line);
    }
    return all;
}

bool has_line(const std::string& text, const std::string& line) {
    const auto all = lines(text);
    return std::find(all.begin(), all.end(), line) != all.end();
}

} // namespace

TEST_CASE("a snapshot becomes metrics, summed over workers") {
    const sample_pools sample;
    const auto text = metrics_text(metrics_collector(sample.source()));
    const std::string labels = R"({database="fitness_club",user="bot")";
    const std::string expected[] = {
        "pgweir_pool_size" + labels + "} 18",
        "pgweir_pool_maxconn" + labels + "} 48",
        "pgweir_pool_minconn" + labels + "} 5",
        "pgweir_pool_up" + labels + "} 1",
        "pgweir_pool_utilisation_ratio" + labels + "} 0.25",
        "pgweir_pool_servers" + labels + ",state=\"in_use\"} 12",
        "pgweir_pool_servers" + labels + ",state=\"idle\"} 2",
        "pgweir_pool_servers" + labels + ",state=\"connecting\"} 4",
        "pgweir_pool_clients" + labels + ",state=\"active\"} 12",
        "pgweir_pool_clients" + labels + ",state=\"waiting\"} 8",
        "pgweir_pool_clients" + labels + ",state=\"idle\"} 40",
        "pgweir_pool_pinned_clients" + labels + "} 2",
        "pgweir_pool_pins" + labels + ",reason=\"listen\"} 2",
        "pgweir_pool_pins_total" + labels + ",reason=\"listen\"} 10",
        "pgweir_pool_pinned_seconds_total" + labels + ",reason=\"listen\"} 2.5",
        "pgweir_pool_pins" + labels + ",reason=\"large_statement\"} 0",
        "pgweir_pool_exhausted_total" + labels + "} 14",
        "pgweir_pool_wait_timeouts_total" + labels + "} 6",
        "pgweir_client_received_bytes_total" + labels + "} 246913578024",
        "pgweir_errors_total" + labels + ",class=\"23\"} 18",
        "pgweir_server_closes_total" + labels + ",reason=\"idle_timeout\"} 4",
        "pgweir_server_closes_total" + labels + ",reason=\"max_lifetime\"} 0",
        "pgweir_pool_wait_seconds_bucket" + labels + ",le=\"0.0025\"} 0",
        "pgweir_pool_wait_seconds_bucket" + labels + ",le=\"0.005\"} 2",
        "pgweir_pool_wait_seconds_bucket" + labels + ",le=\"+Inf\"} 2",
        "pgweir_pool_wait_seconds_count" + labels + "} 2",
        "pgweir_transaction_duration_seconds_bucket" + labels + ",le=\"100\"} 2",
        "pgweir_transaction_duration_seconds_bucket" + labels + ",le=\"+Inf\"} 4",
        "pgweir_transaction_duration_seconds_count" + labels + "} 4",
        "pgweir_clients 61",
        "pgweir_login_failures_total{reason=\"login_refused\"} 4",
        "pgweir_config_reload_failures_total 1",
        "pgweir_config_last_reload_successful 0",
    };
    for (const auto& line : expected) {
        CAPTURE(line);
        CHECK(has_line(text, line));
    }
    CHECK(text.find("class=\"42\"") == std::string::npos);     // only classes that occurred
    CHECK(text.find("cancel_request\"") != std::string::npos); // of logged-in clients …
    CHECK(text.find("pgweir_login_failures_total{reason=\"cancel_request\"}") ==
          std::string::npos); // … but no failed login
}

TEST_CASE("hostile names and odd moments do not break the text") {
    const sample_pools sample;
    const auto text = metrics_text(metrics_collector(sample.source()));
    const std::string labels = R"({database="a\"b\\c\nd\\xff<script>",user="o'neil & \"co\"")";
    CHECK(has_line(text, "pgweir_pool_up" + labels + "} 0"));
    CHECK(has_line(text, "pgweir_pool_utilisation_ratio" + labels + "} 0"));
    CHECK(has_line(text, "pgweir_pool_servers" + labels + ",state=\"idle\"} 0")); // 1 - 2
}

TEST_CASE("without pools every metric is there, without samples") {
    snapshot_source source;
    source.pools = [] { return std::vector<pool_snapshot>{}; };
    source.process = [] { return process_snapshot{}; };
    const auto families = metrics_collector(source).Collect();
    const sample_pools sample;
    CHECK(families.size() == metrics_collector(sample.source()).Collect().size());
}

TEST_CASE("what a scrape yields does not grow with clients") {
    sample_pools sample;
    const auto before = lines(metrics_text(metrics_collector(sample.source()))).size();
    sample.first[0].clients.set(10'000);
    sample.first[0].transactions.add(1'000'000);
    CHECK(lines(metrics_text(metrics_collector(sample.source()))).size() == before);
}

TEST_CASE("the process' own figures are the kernel's") {
    const auto before = read_process_usage();
    CHECK(before.cpu_seconds > 0);
    CHECK(before.resident_bytes > 1024 * 1024);
    CHECK(before.open_fds >= 3);
    CHECK(before.max_fds >= before.open_fds);
    CHECK(before.start_time_seconds > 1.6e9);
    CHECK(before.start_time_seconds <= static_cast<double>(::time(nullptr)) + 2);
}
