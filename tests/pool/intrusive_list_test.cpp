// The list against std::list as the model: every operation, in random order.
#include "pool/intrusive_list.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <list>
#include <random>

using namespace pgweir::pool;

namespace {

struct item : list_hook {
    int number = 0;
};

std::list<int> forwards(const intrusive_list<item>& list) {
    std::list<int> result;
    for (const auto* one = list.front(); one != nullptr; one = list.next(*one)) {
        result.push_back(one->number);
    }
    return result;
}

std::list<int> backwards(const intrusive_list<item>& list) {
    std::list<int> result;
    for (const auto* one = list.back(); one != nullptr; one = list.previous(*one)) {
        result.push_front(one->number);
    }
    return result;
}

} // namespace

TEST_CASE("an empty list has neither end") {
    const intrusive_list<item> list;
    CHECK(list.empty());
    CHECK(list.size() == 0);
    CHECK(list.front() == nullptr);
    CHECK(list.back() == nullptr);
}

TEST_CASE("the list behaves like std::list, and elements know whether they are on it") {
    std::mt19937 random(7);
    intrusive_list<item> list;
    std::array<item, 12> items;
    for (int i = 0; auto& one : items) {
        one.number = i++;
    }
    std::list<int> model;
    for (int step = 0; step < 5'000; ++step) {
        auto& one = items[random() % items.size()];
        if (one.linked()) {
            list.remove(one);
            model.remove(one.number);
        } else if (random() % 2 == 0) {
            list.push_front(one);
            model.push_front(one.number);
        } else {
            list.push_back(one);
            model.push_back(one.number);
        }
        REQUIRE(list.size() == model.size());
        REQUIRE(list.empty() == model.empty());
        REQUIRE(forwards(list) == model);
        REQUIRE(backwards(list) == model);
        for (const auto& each : items) {
            REQUIRE(each.linked() == (std::ranges::find(model, each.number) != model.end()));
        }
    }
}
