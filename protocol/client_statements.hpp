// The prepared statements a client believes to have: names it has given to statements, and its
// unnamed one. What has been sent and not been answered yet counts as done until an answer says
// otherwise; then it is undone.
//
// Nothing may be built on what is not settled when it was sent in an earlier batch: that batch may
// have failed, this one would not. Within one batch it may: they fail together.
//
// Owner: a client. Thread: its worker's. Sans-io. Tests: tests/protocol/statement_router_test.cpp.
// Source: PostgreSQL documentation, "Extended Query"; src/backend/commands/prepare.c and
// exec_parse_message() in src/backend/tcop/postgres.c.
#pragma once

#include "protocol/deallocations.hpp"
#include "protocol/prepared_statement.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace pgweir::protocol {

class client_statements {
public:
    using name_set = std::unordered_set<std::string, text_hash, std::equal_to<>>;

    explicit client_statements(statement_table& table)
        : table_(&table) {}
    ~client_statements();
    client_statements(const client_statements&) = delete;
    client_statements& operator=(const client_statements&) = delete;

    struct named {
        statement_ref what;          // nothing: it has just been closed
        std::uint32_t in_flight = 0; // changes that are not settled yet …
        std::uint64_t batch = 0;     // … all sent in this batch
        parse_time when = {};        // the client parsed it
        std::uint64_t changed = 0;   // counts up with every change and deallocation
        bool described = false;      // the client has been told what its results look like …
        bool relied_on = false;      // … and goes by that
        bool stale = false;          // … although they have changed since
        bool asked = false;          // our Describe of it has been sent, …
        bool unchecked = false;      // … and has failed: it is left at that
        statement_shape shape = unknown_shape; // when it was described first
        std::string types = {}; // … of its parameters; empty: as they were declared

        /// What a server's must have been described as to be this; nothing: any will do.
        [[nodiscard]] statement_shape expected_shape() const {
            return relied_on && !unchecked ? shape : unknown_shape;
        }
        /// PostgreSQL has refused its plan because its results have changed. `older`: the server's
        /// was from before this Parse, which knows better.
        void results_changed(bool older) {
            if (!relied_on) {
                forget_description();
            } else if (!older) {
                stale = true;
            }
        }
        /// What it has been described as counts no more.
        void forget_description() {
            relied_on = stale = unchecked = false;
            shape = unknown_shape;
        }
        [[nodiscard]] bool settled_for(std::uint64_t now) const {
            return in_flight == 0 || batch == now;
        }
    };

    /// So many names a client may have for statements that any server can carry: that many are gone
    /// through, and lent, at once. Further ones keep it on its server.
    static constexpr std::size_t most_names = 10'000;
    [[nodiscard]] bool has_names() const { return !names_.empty(); }
    [[nodiscard]] std::size_t size() const { return names_.size(); }
    /// What the statements that it has names for say, in bytes: shared ones count in full.
    [[nodiscard]] std::size_t named_bytes() const { return named_bytes_; }
    /// In the table; nothing where that is full, or this client has most_names, or would have more
    /// than its share of the table.
    [[nodiscard]] statement_ref intern(const reading_context& context, bytes definition,
                                       bool by_sql = false);
    /// Nothing where there is no such name. `name` may be longer than what is significant of it.
    [[nodiscard]] const named* find(std::string_view name) const;
    [[nodiscard]] named* find(std::string_view name);
    /// Nothing where there is no such name, or it has just been closed.
    [[nodiscard]] statement_ref stands_for(std::string_view name) const {
        const auto* const known = find(name);
        return known != nullptr ? known->what : nullptr;
    }
    [[nodiscard]] std::vector<std::string> names() const;
    /// Nothing that was sent in another batch than this one is on its way.
    [[nodiscard]] bool settled_for(std::uint64_t now) const;
    /// A name it has, or had a moment ago, for what servers know under that one.
    [[nodiscard]] std::optional<std::string_view> name_of(std::string_view server_name) const;

    /// Parse or Close (`what` is nothing) of this name has been sent.
    void sent(std::string_view name, statement_ref what, std::uint64_t batch,
              const parse_time& when = {});
    /// … and has been carried out.
    void done(std::string_view name, const statement_ref& what);
    /// … and has not: it is what it was before.
    void undone(std::string_view name, statement_ref before);
    /// SQL has deallocated all of them.
    void all_deallocated();

    // Does the client know results by what it was told of them? Then they must not change under it:
    // drivers describe a statement once, and read rows by that for as long as it is there.

    /// Bind of it is being sent; nothing: of another than these.
    void binds(named* what, std::uint64_t batch) {
        bound_ = what;
        bound_described_ = to_be_described_ = false;
        if (what != nullptr) {
            alone_ = batch == bound_in_ ? nullptr : what;
            bound_in_ = batch;
        }
    }
    void describes_statement(named& what) { what.described = what.relied_on = true; }
    /// Describe of a portal: of the one that was bound last, as drivers do it.
    void describes_portal() {
        if (bound_ != nullptr) {
            bound_->described = bound_described_ = true;
            to_be_described_ = bound_->shape == unknown_shape;
        }
    }
    /// In front of Execute: the statement of which a Describe of ours is to go there, behind the
    /// client's Describe of its portal, so that PostgreSQL sees to it that there is one.
    [[nodiscard]] named* take_described_portal(std::uint64_t batch) {
        return std::exchange(to_be_described_, false) && bound_in_ == batch ? bound_ : nullptr;
    }
    [[nodiscard]] bool has_described_portal() const { return to_be_described_; }
    /// Query: portals are gone.
    void portals_go() { to_be_described_ = false; }
    void executes_portal() {
        if (bound_ != nullptr && !bound_described_ && bound_->described) {
            bound_->relied_on = true;
        }
    }
    /// The only one of these that has been bound in this batch.
    [[nodiscard]] named* bound_alone(std::uint64_t batch) const {
        return bound_in_ == batch ? alone_ : nullptr;
    }
    /// Our Describe has been sent, and what the client has said since waits for its answer.
    void checks() { checking_ = true; }
    [[nodiscard]] bool is_checking() const { return checking_; }
    /// What our Describe of it has been answered with: what the client has been told as well, or
    /// whether that is still so.
    void told(const statement_ref& what, const described_statement& as);
    /// … has failed, or was skipped.
    void not_told(const statement_ref& what, bool failed);

    // SQL knows statements by the client's names; a server is lent them for as long as it takes.

    /// The server knows the statement under this name now.
    void lent(std::string_view name) { lent_.emplace(name); }
    /// The client gives this name to a statement that is its own on the server it has.
    void keeps(std::string_view name) {
        if (const auto at = lent_.find(name); at != lent_.end()) {
            lent_.erase(at);
        }
    }
    [[nodiscard]] bool anything_lent() const { return !lent_.empty(); }
    [[nodiscard]] name_set take_lent() { return std::exchange(lent_, {}); }
    /// DEALLOCATE of it, or (no name) of all, has been sent in this batch; `outside` of any: by a
    /// Query. PostgreSQL says that it was carried out with the tag of the first that has not been
    /// spoken of yet.
    static constexpr std::uint64_t outside = 0;
    void deallocating(std::string_view name, std::uint64_t batch) {
        if (deallocating_ == nullptr) {
            deallocating_ = std::make_unique<deallocations>();
        }
        deallocating_->add(name, {batch, ++changes_});
    }
    /// What is that one's name? Nothing: it was none of these.
    std::optional<std::string> said_deallocated();
    /// A Query has been sent that is PREPARE of `what` under this name: nothing of the client's is
    /// to be sent behind it before it has been answered. The server has the statement until it is
    /// taken back.
    void preparing(std::string_view name, statement_ref what) {
        preparing_ = {std::string(name), std::move(what)};
        lent(name);
    }
    [[nodiscard]] bool is_preparing() const { return preparing_.what != nullptr; }
    /// … and has been carried out.
    void said_prepared();
    /// A text that deallocates it, or all, has been parsed in this batch; …
    void may_deallocate(std::string_view name, std::uint64_t batch) {
        if (armed_in_ != batch) {
            armed_.clear();
            armed_in_ = batch;
        }
        armed_.emplace_back(name);
    }
    /// … and something is executed in it.
    void executes(std::uint64_t batch);
    [[nodiscard]] bool may_deallocate_something() const { return !armed_.empty(); }

    // RESET goes back to what the client asked for at its start (start_up_settings.hpp).

    struct restoring {
        std::optional<std::string> portal = {}; // that resets something; nothing: a Query does
        std::vector<std::string> statements;    // to stand behind that
    };
    void restores(std::unique_ptr<const restoring> what) { restoring_ = std::move(what); }
    /// Nothing: nothing does.
    [[nodiscard]] const restoring* to_restore() const { return restoring_.get(); }

    /// Nothing is under way any more: deallocations not spoken of have failed, and no error will
    /// name a statement that is gone.
    void at_rest();
    [[nodiscard]] bool was_busy() const {
        return is_deallocating() || !departed_.empty() || is_preparing();
    }
    /// What a message of batch `now` meets that uses the name: if the DEALLOCATE was sent in the
    /// same batch, it is gone, or nobody will look; otherwise only an answer will tell.
    enum class deallocation : std::uint8_t { none, done, unsettled };
    [[nodiscard]] deallocation deallocation_of(std::string_view name, std::uint64_t now) const {
        return is_deallocating() ? look_for_deallocation(name, now) : deallocation::none;
    }

    /// The client has been given a server. Each counts its batches by itself: none that has been
    /// sent before is one of those to come.
    void lease_begins() {
        text_.batch = previous_.batch = bound_in_ = 0;
        checking_ = false;
        armed_.clear();
    }

    // The unnamed statement
    // ------------------------------------------------------------------------ A server keeps it
    // until the next unnamed Parse or Query. It is copied here, so that another server can be given
    // it.

    /// Each message that changes it has a number, counted up from 1.
    using serial = std::uint64_t;
    /// An unnamed Parse, which says this, is being sent. Empty: it could not be seen whole.
    /// `names_statements`: its text is PREPARE, EXECUTE or DEALLOCATE of one, or of all.
    /// `version`: of the names it is read under (known_names).
    serial unnamed_sent(bytes definition, std::uint64_t batch, bool names_statements = false,
                        std::uint64_t version = 0);
    /// A Parse of the same definition, for a server that lacks it; or a message that destroys it.
    serial unnamed_sent_again(std::uint64_t batch);
    /// The last unnamed Parse said exactly this, and it was plain (unnamed_is_plain()): there is
    /// nothing to be found out about it. Most clients ask the same over and over.
    /// `version`: of the names it is read under (known_names).
    [[nodiscard]] bool unnamed_was_plain(bytes definition, std::uint64_t version) const {
        return text_.plain && text_.version == version && text_.definition == as_text(definition);
    }
    /// … and is being sent by the client once more.
    serial unnamed_sent_the_same(std::uint64_t batch);
    serial unnamed_destroyed(std::uint64_t batch);
    /// A message that destroys it was refused before it had been sent: so it would have been in
    /// PostgreSQL, which destroys it first. Nothing may be in flight.
    void unnamed_refused();
    /// What became of the message with that number. `exists`: there is one now.
    void unnamed_settled(serial which, bool exists);
    void unnamed_skipped(serial which);

    [[nodiscard]] bool unnamed_settled_for(std::uint64_t now) const {
        return unnamed_in_flight_ == 0 || unnamed_batch_ == now;
    }
    /// There is one, as far as has been sent.
    [[nodiscard]] bool has_unnamed() const { return unnamed_exists_; }
    /// … and this is what it says. False: only the server knows, so the client must stay there.
    [[nodiscard]] bool unnamed_known() const { return !unnamed_exists_ || known_; }
    [[nodiscard]] std::string_view unnamed_definition() const { return text_.definition; }
    /// What the unnamed Parse that has just been sent says leaves something in the session.
    void unnamed_leaves_something() { text_.leaves = true; }
    /// … leaves nothing and names no statements, wherever and whenever it is parsed.
    void unnamed_is_plain() { text_.plain = text_.kept; }
    /// It is to be read again when it comes again: what it means to the client has changed.
    void unnamed_is_to_be_read() { text_.plain = false; }
    /// It may leave something when it is bound now, long after it was parsed.
    [[nodiscard]] bool unnamed_leaves_something_when_bound(std::uint64_t now,
                                                           std::uint64_t version) const {
        const bool leaves = text_.leaves || text_.version != version;
        return unnamed_exists_ && known_ && leaves && text_.batch != now;
    }
    /// … at any time.
    [[nodiscard]] bool unnamed_leaves_something_known() const {
        return text_.leaves && unnamed_exists_ && known_;
    }
    /// It names statements, and was parsed in an earlier batch than this one.
    [[nodiscard]] bool unnamed_names_statements(std::uint64_t now) const {
        return unnamed_exists_ && known_ && text_.names && text_.batch != now;
    }
    /// The last message that was carried out.
    [[nodiscard]] serial unnamed_truth() const { return truth_; }
    [[nodiscard]] serial unnamed_last() const { return last_; }
    [[nodiscard]] bool unnamed_in_flight() const { return unnamed_in_flight_ != 0; }

private:
    using name_map = std::unordered_map<std::string, named, text_hash, std::equal_to<>>;

    [[nodiscard]] bool is_deallocating() const {
        return deallocating_ != nullptr && !deallocating_->empty();
    }
    [[nodiscard]] deallocation look_for_deallocation(std::string_view name,
                                                     std::uint64_t now) const;
    name_map::iterator forget(name_map::iterator at);
    void assign(name_map::value_type& to, statement_ref what);
    void settle(name_map::iterator at);
    serial next_unnamed(std::uint64_t batch);
    void unnamed_decided();
    void keep(bytes definition);
    void forget_previous();

    statement_table* table_;
    name_map names_;
    std::size_t named_bytes_ = 0;
    std::uint64_t changes_ = 0;
    named *bound_ = nullptr, *alone_ = nullptr;
    std::uint64_t bound_in_ = 0;
    bool bound_described_ = false, to_be_described_ = false, checking_ = false;
    name_set lent_;
    std::unique_ptr<deallocations> deallocating_; // most clients have none
    std::vector<std::string> armed_;              // all in this batch:
    std::uint64_t armed_in_ = 0;
    struct {
        std::string name;
        statement_ref what;
    } preparing_;
    std::unique_ptr<const restoring> restoring_;
    struct departed_name {
        std::string name, server_name;
    };
    std::vector<departed_name> departed_; // the latest only

    // What an unnamed Parse has said, and what there is to know about it.
    struct unnamed_text {
        std::string definition = {};    // where it is kept
        std::size_t reserved_bytes = 0; // of the table's, for it
        serial from = 0;                // the first message that said this
        std::uint64_t batch = 0;        // it was parsed in
        std::uint64_t version = 0;      // of the names it was read under
        bool kept = false;
        bool names = false;  // statements
        bool leaves = false; // something in the session
        bool plain = false;  // surely neither
    };
    // text_ is what messages from text_.from on have said, previous_ what those before it had said,
    // up to previous_to_. Of anything in between nothing is kept.
    unnamed_text text_{.from = 1}, previous_;
    serial previous_to_ = 0;
    serial last_ = 0, truth_ = 0;
    bool truth_exists_ = false;
    bool unnamed_exists_ = false;
    bool known_ = false;
    std::uint32_t unnamed_in_flight_ = 0;
    std::uint64_t unnamed_batch_ = 0;
};

} // namespace pgweir::protocol
