// Workers as they are: threads. Each runs its shard and exchanges messages with the others by the
// rules at the top of pool/shard.hpp; servers die now and then. If a wake-up were lost between
// two workers, a waiter would wait for ever, since nobody times out here. Run under
// ThreadSanitizer too.
#include "pool/shard.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

using namespace pgweir::pool;
using namespace std::chrono_literals;

namespace {

/// Longer than any machine needs for one run, however busy.
constexpr auto patience = 60s;

struct message {
    enum class kind : std::uint8_t { ask, take, wake } what;
    std::uint32_t from = 0;
    server* carried = nullptr;
};

struct mailbox {
    void post(message mail) {
        const std::lock_guard lock(mutex_);
        mails_.push_back(mail);
    }
    std::deque<message> take_all() {
        const std::lock_guard lock(mutex_);
        return std::exchange(mails_, {});
    }

private:
    std::mutex mutex_;
    std::deque<message> mails_;
};

/// What the threads share.
struct world {
    world(std::uint32_t workers, const limits& pool_bounds)
        : bounds(pool_bounds)
        , book(workers)
        , mail(workers) {}
    limits bounds;
    ledger book;
    std::vector<mailbox> mail;
    std::atomic<std::uint32_t> open{0}; // servers, as PostgreSQL counts them
    std::atomic<bool> bound_broken{false};
    std::atomic<std::uint64_t> leases{0};
    std::atomic<std::uint32_t> unfinished{0}; // workers whose clients want more leases
    std::atomic<bool> give_up{false};
};

class worker_thread {
public:
    worker_thread(world& all, std::uint32_t self, std::uint32_t clients, int leases_wanted)
        : all_(all)
        , self_(self)
        , part_(all.book, counts_, worker_index{self}, all.bounds)
        , leases_wanted_(leases_wanted)
        , random_(self + 1)
        , clients_(clients) {
        for (std::uint64_t i = 0; auto& one : clients_) {
            one.id = client_id{std::uint64_t{self} << 56 | ++i};
        }
    }

    void run() {
        bool finished = false;
        const auto started = now();
        while (all_.unfinished != 0 && !all_.give_up) {
            for (const auto& one : all_.mail[self_].take_all()) {
                on(one);
            }
            for (auto& one : clients_) {
                drive(one);
            }
            // Only the retry of the very first attempt is ever due here.
            if (const auto due = part_.next_deadline(); due && *due <= now()) {
                grow();
            }
            if (!finished && leases_wanted_ <= 0) {
                finished = true;
                --all_.unfinished;
            }
            if (now() - started > patience) {
                all_.give_up = true; // a failing test must end, too
            }
            std::this_thread::yield();
        }
    }
    [[nodiscard]] const stats& counts() const { return counts_; }

private:
    struct client : waiter {
        server* held = nullptr;
        std::uint32_t turns = 0; // it keeps the server for so many more
    };

    static time_point now() { return std::chrono::steady_clock::now(); }

    void drive(client& who) {
        if (who.held != nullptr) {
            if (who.turns > 0) {
                --who.turns;
            } else {
                release(*std::exchange(who.held, nullptr));
            }
        } else if (!who.waiting && leases_wanted_ > 0) {
            if (auto* const got = part_.acquire(who, now())) {
                lease(who, *got);
            } else {
                grow();
            }
        }
    }

    void lease(client& who, server& got) {
        who.held = &got;
        who.turns = draw(4);
        --leases_wanted_;
        ++all_.leases;
    }

    void release(server& used) {
        if (draw(16) == 0) {
            // It dies. Its successor may be opened by somebody else.
            if (draw(2) == 0) {
                part_.begin_close(used, server_close::server_eof, now());
            }
            --all_.open;
            part_.closed(used);
            grow();
            wake_others();
            return;
        }
        place(used);
    }

    void place(server& used) {
        const auto placed = part_.free(used, now());
        if (placed.where == shard::placement::to::waiter) {
            lease(static_cast<client&>(*placed.client), used);
        } else if (placed.where == shard::placement::to::other_worker) {
            all_.mail[placed.worker.value].post({message::kind::take, self_, &used});
        }
    }

    void grow() {
        while (true) {
            const auto decision = part_.grow(now());
            if (decision != growth::open_for_waiter && decision != growth::open_for_minimum) {
                break;
            }
            if (++all_.open > all_.bounds.maxconn) {
                all_.bound_broken = true;
            }
            made_.push_back(std::make_unique<server>());
            part_.add_connecting(*made_.back(), now(), 0);
            all_.book.report_up();
            place(*made_.back());
            wake_others();
        }
        if (const auto other = part_.whom_to_ask()) {
            all_.mail[other->value].post({message::kind::ask, self_, nullptr});
        }
    }

    void wake_others() {
        part_.wake_others([&](worker_index other) {
            all_.mail[other.value].post({message::kind::wake, self_, nullptr});
        });
    }

    void on(const message& mail) {
        switch (mail.what) {
        case message::kind::ask:
            if (auto* const given = part_.give_idle()) {
                all_.mail[mail.from].post({message::kind::take, self_, given});
            } else if (const auto other = part_.whom_else(worker_index{mail.from})) {
                all_.mail[other->value].post({message::kind::ask, mail.from, nullptr});
            }
            break;
        case message::kind::take:
            part_.adopt(*mail.carried, now());
            place(*mail.carried);
            break;
        case message::kind::wake:
            grow();
            break;
        }
    }

    std::uint32_t draw(std::uint32_t below) {
        random_ = random_ * 1664525U + 1013904223U;
        return (random_ >> 16) % below;
    }

    world& all_;
    std::uint32_t self_;
    stats counts_;
    shard part_;
    int leases_wanted_;
    std::uint32_t random_;
    std::vector<client> clients_;
    std::vector<std::unique_ptr<server>> made_; // others use them too: kept to the end
};

} // namespace

TEST_CASE("on threads: nobody waits for ever, and the bound holds") {
    struct row {
        std::uint32_t workers, maxconn, clients;
    };
    // One client to a worker: nothing else that happens there makes up for a lost wake-up.
    constexpr int leases = 3'000;
    for (const auto& run :
         {row{2, 1, 1}, row{3, 1, 1}, row{3, 2, 1}, row{2, 3, 4}, row{4, 2, 2}, row{4, 5, 3}}) {
        const auto workers = run.workers;
        CAPTURE(workers);
        CAPTURE(run.maxconn);
        CAPTURE(run.clients);
        limits bounds;
        bounds.minconn = 0;
        bounds.maxconn = run.maxconn;
        bounds.wait_timeout = 24h;
        world all(workers, bounds);
        std::deque<worker_thread> parts;
        for (std::uint32_t i = 0; i < workers; ++i) {
            parts.emplace_back(all, i, run.clients, leases);
        }
        all.unfinished = workers;
        {
            std::vector<std::jthread> threads;
            for (auto& one : parts) {
                threads.emplace_back([&one] { one.run(); });
            }
        }
        CHECK_FALSE_MESSAGE(all.give_up, "a wake-up was lost");
        CHECK_FALSE(all.bound_broken);
        CHECK(all.book.taken() == all.open);
        CHECK(all.leases >= leases * workers);
    }
}
