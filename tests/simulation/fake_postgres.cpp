#include "tests/simulation/fake_postgres.hpp"

#include <boost/system/errc.hpp>

#include <algorithm>

namespace pgweir::simulation {

fake_postgres::~fake_postgres() = default;

void fake_postgres::connect(std::shared_ptr<engine_socket*> who, bool for_session) {
    auto& random = shared_.random;
    const auto there = random.between(microseconds(20), milliseconds(1));
    if (state_ == state::vanishing) {
        return; // the SYN is lost
    }
    shared_.time.after(there, [this, who, for_session] {
        if (*who == nullptr) {
            return;
        }
        const auto back = shared_.random.between(microseconds(20), milliseconds(1));
        if (state_ == state::refusing || state_ == state::vanishing) {
            shared_.time.after(back, [who] {
                if (*who != nullptr) {
                    (*who)->connected(nullptr, boost::system::errc::make_error_code(
                                                   boost::system::errc::connection_refused));
                }
            });
            return;
        }
        auto ends = network_.connect();
        auto& made = backends_.emplace_back(
            std::make_shared<backend_process>(*this, ends[1], ++last_process_id_));
        shared_.trace(made->process_id, "accept", [&] {
            return std::string("backend ") + std::to_string(made->process_id) +
                   (for_session ? "" : " (cancel request)");
        });
        shared_.time.after(back, [who, end = ends[0]] {
            if (*who != nullptr) {
                (*who)->connected(end, {});
            } else {
                end->close();
            }
        });
    });
}

void fake_postgres::shut(backend_process& who) {
    // Not from inside its own call.
    shared_.time.after(duration(0), [this, id = who.process_id] {
        std::erase_if(backends_, [&](const auto& b) { return b->process_id == id; });
    });
}

void fake_postgres::set_state(state to) { state_ = to; }

void fake_postgres::crash() {
    shared_.last_server_fault = shared_.time.now();
    const bool says_so = shared_.random.chance(50);
    const auto all = backends_;
    for (const auto& one : all) {
        one->die(says_so);
    }
}

bool fake_postgres::kill_one() {
    if (backends_.empty()) {
        return false;
    }
    shared_.last_server_fault = shared_.time.now();
    const auto victim = backends_[shared_.random.below(backends_.size())];
    switch (shared_.random.below(4)) {
    case 0:
        victim->die(true);
        break;
    case 1:
        victim->die(false);
        break;
    case 2:
        shared_.nonsense_talked = true;
        victim->talk_nonsense();
        break;
    default:
        victim->cut();
        break;
    }
    return true;
}

const backend_process* fake_postgres::talks_nonsense() const {
    const auto found = std::find_if(backends_.begin(), backends_.end(), [](const auto& b) {
        return b->counts() && b->talked_nonsense();
    });
    return found == backends_.end() ? nullptr : found->get();
}

void fake_postgres::notify_one() {
    if (!backends_.empty()) {
        backends_[shared_.random.below(backends_.size())]->notify();
    }
}

std::uint32_t fake_postgres::backends(std::string_view database, std::string_view user) const {
    return static_cast<std::uint32_t>(
        std::count_if(backends_.begin(), backends_.end(), [&](const auto& b) {
            return b->counts() && b->user() == user && b->database() == database;
        }));
}

std::uint32_t fake_postgres::backends() const {
    return static_cast<std::uint32_t>(std::count_if(backends_.begin(), backends_.end(),
                                                    [](const auto& b) { return b->counts(); }));
}

backend_process* fake_postgres::find(std::uint32_t process_id) {
    for (const auto& one : backends_) {
        if (one->process_id == process_id) {
            return one.get();
        }
    }
    return nullptr;
}

void fake_postgres::commit(const std::string& write) {
    if (++log_[write] != 1 && !write.ends_with('*')) {
        shared_.violation("the write " + write + " was committed twice");
    }
}

} // namespace pgweir::simulation
