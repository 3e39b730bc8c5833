// A doubly linked list through its elements: no allocation, removal in constant time, and an
// element knows whether it is on a list. Tests: tests/pool/intrusive_list_test.cpp.
#pragma once

#include <cstddef>

namespace pgweir::pool {

struct list_hook {
    list_hook* next_ = nullptr;
    list_hook* previous_ = nullptr;
    [[nodiscard]] bool linked() const { return next_ != nullptr; }
};

/// Elements derive from list_hook and are on at most one list. The list owns nothing.
template <typename T>
class intrusive_list {
public:
    intrusive_list() { end_.next_ = end_.previous_ = &end_; }
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;

    [[nodiscard]] bool empty() const { return end_.next_ == &end_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] T* front() const { return element(end_.next_); }
    [[nodiscard]] T* back() const { return element(end_.previous_); }
    [[nodiscard]] T* next(const T& of) const { return element(of.next_); }
    [[nodiscard]] T* previous(const T& of) const { return element(of.previous_); }

    void push_front(T& what) { insert(what, end_.next_); }
    void push_back(T& what) { insert(what, &end_); }
    void insert_before(T& what, T& place) { insert(what, &place); }
    void remove(T& what) {
        what.previous_->next_ = what.next_;
        what.next_->previous_ = what.previous_;
        what.next_ = what.previous_ = nullptr;
        --size_;
    }

private:
    void insert(T& what, list_hook* before) {
        what.next_ = before;
        what.previous_ = before->previous_;
        before->previous_->next_ = &what;
        before->previous_ = &what;
        ++size_;
    }
    [[nodiscard]] T* element(list_hook* hook) const {
        return hook == &end_ ? nullptr : static_cast<T*>(hook);
    }
    list_hook end_;
    std::size_t size_ = 0;
};

} // namespace pgweir::pool
