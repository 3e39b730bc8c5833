// Questions to which the system may take its time to answer (a name server that does not answer:
// tens of seconds, and nothing can end that wait). They wait on threads of their own, which nothing
// else needs and nobody joins: one that still waits at the end of the daemon is left to its fate.
//
// Who asks the same at the same time gets the same answer; answers are kept for as long as the
// function says. What nobody waits for any more is not asked; what is too much is told so at once.
//
// Owner: the control plane, one for each kind of question. Thread: any may ask; `told` is called on
// a thread of this, or at once. Tests: tests/daemon/lookups_test.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace pgweir::daemon {

struct lookup_limits {
    std::size_t threads = 4;       // begun when they are needed
    std::size_t waiting = 1'000;   // questions whose turn has not come
    std::size_t kept = 10'000;     // answers
    std::chrono::seconds rest{10}; // a thread that has nothing to do for so long ends
};

template <typename Question, typename Answer>
class lookups {
public:
    using clock = std::chrono::steady_clock;
    struct found_out {
        Answer answer;
        clock::duration keep_for;
    };
    using function = std::function<found_out(const Question&)>;
    /// Nothing: too much is being asked already, or the asking itself has failed (no memory, say).
    using told = std::function<void(const Answer*)>;
    /// Whoever asks is there as long as this is.
    using asker = std::weak_ptr<const void>;

    explicit lookups(function how, lookup_limits limits = {})
        : state_(std::make_shared<state>(std::move(how), limits)) {}
    ~lookups() { stop(); }
    lookups(const lookups&) = delete;
    lookups& operator=(const lookups&) = delete;

    void ask(const Question& what, asker who, told tell);
    /// Nobody is told anything after this. Waits for no answer.
    void stop();

private:
    struct waiter {
        asker who;
        told tell;
    };
    struct entry {
        std::optional<Answer> known;
        typename clock::time_point until{};
        bool asking = false;
        std::vector<waiter> waiting;
    };
    /// Belongs to the threads, too: they may be there for longer than anything else.
    struct state {
        state(function how_, lookup_limits limits_)
            : how(std::move(how_))
            , limits(limits_) {}
        const function how;
        const lookup_limits limits;
        std::mutex mutex; // of what follows
        std::condition_variable work;
        std::condition_variable told_all;
        bool stopped = false;
        std::size_t threads = 0;
        std::size_t resting = 0;
        std::size_t telling = 0;
        std::deque<Question> queue;
        std::map<Question, entry> entries;

        [[nodiscard]] bool enter(const Question& what, waiter& one);
        [[nodiscard]] bool has_thread(const std::shared_ptr<state>& self);
        void drop_unwanted();
        [[nodiscard]] std::optional<found_out> find_out(const Question& what) const;
        void work_off();
    };

    static bool is_wanted(const entry& of) {
        return std::any_of(of.waiting.begin(), of.waiting.end(),
                           [](const waiter& one) { return !one.who.expired(); });
    }

    std::shared_ptr<state> state_;
};

template <typename Question, typename Answer>
void lookups<Question, Answer>::ask(const Question& what, asker who, told tell) {
    std::optional<Answer> known;
    {
        const std::lock_guard lock(state_->mutex);
        if (state_->stopped) {
            return;
        }
        const auto at = state_->entries.find(what);
        if (at != state_->entries.end() && at->second.known && at->second.until > clock::now()) {
            known = at->second.known;
        } else if (waiter one{std::move(who), tell};
                   state_->has_thread(state_) && state_->enter(what, one)) {
            return;
        }
    }
    tell(known ? &*known : nullptr);
}

/// False: too much waits already.
template <typename Question, typename Answer>
bool lookups<Question, Answer>::state::enter(const Question& what, waiter& one) {
    const auto at = entries.find(what);
    if (at == entries.end() || !at->second.asking) {
        if (queue.size() >= limits.waiting) {
            drop_unwanted();
        }
        if (queue.size() >= limits.waiting) {
            return false;
        }
        if (entries.size() >= limits.kept) {
            std::erase_if(entries, [](const auto& each) { return !each.second.asking; });
        }
        queue.push_back(what);
        work.notify_one();
    }
    auto& where = entries[what];
    where.asking = true;
    where.waiting.push_back(std::move(one));
    return true;
}

/// One more, if all are at work and there may be more. False: there is none, and none to be had.
template <typename Question, typename Answer>
bool lookups<Question, Answer>::state::has_thread(const std::shared_ptr<state>& self) {
    if (resting <= queue.size() && threads < limits.threads) {
        try {
            std::thread([self] { self->work_off(); }).detach();
            ++threads;
        } catch (const std::system_error&) { // so many are enough, then
        }
    }
    return threads != 0;
}

template <typename Question, typename Answer>
void lookups<Question, Answer>::state::drop_unwanted() {
    std::erase_if(queue, [this](const Question& what) {
        const auto at = entries.find(what);
        if (is_wanted(at->second)) {
            return false;
        }
        entries.erase(at);
        return true;
    });
}

/// Nobody is above a thread of this: what is thrown here would end the daemon, for the sake of one
/// question. Nothing of ours is half done when that happens.
template <typename Question, typename Answer>
auto lookups<Question, Answer>::state::find_out(const Question& what) const
    -> std::optional<found_out> {
    try {
        return how(what);
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

template <typename Question, typename Answer>
void lookups<Question, Answer>::state::work_off() {
    std::unique_lock lock(mutex);
    while (true) {
        ++resting;
        const bool wanted =
            work.wait_for(lock, limits.rest, [this] { return stopped || !queue.empty(); });
        --resting;
        if (stopped || !wanted) {
            --threads;
            return;
        }
        const auto what = std::move(queue.front());
        queue.pop_front();
        if (const auto at = entries.find(what); !is_wanted(at->second)) {
            entries.erase(at);
            continue;
        }
        lock.unlock();
        const auto got = find_out(what);
        lock.lock();
        if (stopped) {
            return;
        }
        auto& where = entries[what];
        if (got) {
            where.known = got->answer;
            where.until = clock::now() + got->keep_for;
        }
        where.asking = false;
        auto waiting = std::exchange(where.waiting, {});
        ++telling;
        lock.unlock();
        for (const auto& one : waiting) {
            one.tell(got ? &got->answer : nullptr);
        }
        waiting.clear();
        lock.lock();
        --telling;
        told_all.notify_all();
    }
}

template <typename Question, typename Answer>
void lookups<Question, Answer>::stop() {
    std::map<Question, entry> dropped; // not under the lock: who knows what goes with them
    std::unique_lock lock(state_->mutex);
    state_->stopped = true;
    state_->work.notify_all();
    state_->told_all.wait(lock, [this] { return state_->telling == 0; });
    state_->queue.clear();
    dropped.swap(state_->entries);
    lock.unlock();
}

} // namespace pgweir::daemon
