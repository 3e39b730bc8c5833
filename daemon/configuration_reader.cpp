#include "daemon/configuration_reader.hpp"

#include <boost/asio/post.hpp>

#include <utility>

namespace pgweir::daemon {

configuration_reader::configuration_reader(boost::asio::io_context& ops, steps of)
    : ops_(ops)
    , of_(std::move(of))
    , readings_(
          [](const question& what) {
              const auto how = std::exchange(*what.how, nullptr);
              return decltype(readings_)::found_out{std::make_shared<outcome>(how()), {}};
          },
          {.threads = 1, .waiting = 1, .kept = 1}) {}

void configuration_reader::read(told done) {
    ask_again_.push_back(std::move(done));
    if (!is_reading_) {
        begin();
    }
}

void configuration_reader::begin() {
    is_reading_ = true;
    asked_ = std::exchange(ask_again_, {});
    readings_.ask({++serial_, std::make_shared<reading>(of_.begin())}, here_,
                  [this](const std::shared_ptr<outcome>* read) {
                      boost::asio::post(ops_, [this, got = read != nullptr ? *read : nullptr] {
                          outcome failed;
                          failed.loaded.errors.emplace_back("there is no thread to read it, or no "
                                                            "memory");
                          finish(got != nullptr ? std::move(*got) : std::move(failed));
                      });
                  });
}

void configuration_reader::finish(outcome what) {
    const auto problem = of_.use(std::move(what));
    is_reading_ = false;
    for (const auto& done : std::exchange(asked_, {})) {
        done(problem);
    }
    if (!ask_again_.empty() && !is_reading_) {
        begin();
    }
}

} // namespace pgweir::daemon
