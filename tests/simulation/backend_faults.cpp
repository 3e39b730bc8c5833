// How a backend fails: it dies, its connection is lost, or it talks nonsense. See
// fake_postgres.hpp.
#include "tests/simulation/fake_postgres.hpp"

namespace pgweir::simulation {

namespace {

std::string framed(char type, std::string_view body) {
    std::string out;
    protocol::message_writer(out).begin(type).raw(body).end();
    return out;
}

} // namespace

/// What nobody can take for PostgreSQL's, whatever has been asked; or, if it is not `plain`, what
/// can be taken for that until there is more.
std::string backend_process::nonsense(bool plain) {
    auto& random = home_.shared_.random;
    const bool ready = phase_ == phase::ready;
    if (!plain) {
        const bool owes_nothing = ready && !busy_ && in_.empty() && session_.unflushed().empty() &&
                                  !session_.in_copy_in() && !session_.in_batch();
        if (owes_nothing && random.chance(50)) { // an answer, but nothing has been asked
            return framed(random.chance(50) ? '2' : '3', "");
        }
        const auto whole = framed(random.chance(50) ? 'D' : 'C', "half of a message");
        return whole.substr(0, random.between(1, whole.size() - 1));
    }
    switch (random.below(8)) {
    case 0: // lengths that cannot be
        return std::string("D\xff\xff\xff\xffgarbage", 12);
    case 1:
        return std::string("Z\0\0\0\3", 5);
    case 2:
        return std::string("C\0\0\0\0", 5);
    case 3: // types that cannot be
        return framed('!', "what is this");
    case 4:
        return "HTTP/1.1 400 Bad Request\r\n\r\n";
    case 5:
        return std::string(random.between(protocol::header_bytes, 40), '\0');
    case 6: // what belongs to a login, and not to this part of one
        return ready ? framed('R', std::string(4, '\0')) : framed('D', std::string(2, '\0'));
    default:
        return ready ? framed('K', "12345678") : framed('t', std::string(2, '\0'));
    }
}

void backend_process::talk_nonsense() {
    const bool talks = phase_ == phase::ready || phase_ == phase::authentication;
    if (!talks || nonsense_ != talk::sense) {
        return;
    }
    auto& random = home_.shared_.random;
    nonsense_ = random.chance(70) ? talk::nonsense : talk::half;
    home_.shared_.trace(process_id, "nonsense", [&] { return name() + " talks nonsense"; });
    out_ += nonsense(nonsense_ == talk::nonsense);
    busy_ = false;
    ++statement_serial_;
    in_.clear();
    flush();
    process(); // the other side may have closed while this one was busy
    // Whoever hears nonsense must close. What cannot be told from the beginning of sense, this end
    // does not go on with.
    if (nonsense_ == talk::half) {
        later(random.between(duration(0), milliseconds(500)), &backend_process::end_of_nonsense);
    }
}

void backend_process::end_of_nonsense() {
    if (phase_ == phase::gone || phase_ == phase::carrier || phase_ == phase::exiting) {
        return;
    }
    home_.shared_.last_server_fault = home_.shared_.time.now();
    die(false);
}

void backend_process::die(bool says_so) {
    if (phase_ == phase::gone || phase_ == phase::carrier) {
        return;
    }
    home_.shared_.trace(process_id, "die", [&] { return name(); });
    ++statement_serial_;
    busy_ = false;
    if (says_so && nonsense_ == talk::sense && phase_ != phase::exiting &&
        phase_ != phase::startup) {
        out_ += session_.send_unflushed();
        say_fatal("57P01", "terminating connection due to administrator command");
    }
    phase_ = phase::gone;
    end_->close();
    home_.shut(*this);
}

void backend_process::cut() {
    if (phase_ == phase::gone || phase_ == phase::carrier) {
        return;
    }
    home_.shared_.trace(process_id, "cut", [&] { return name() + " loses its connection"; });
    ++statement_serial_;
    busy_ = false;
    phase_ = phase::gone;
    end_->cut();
    // The end itself stays until the reset has arrived everywhere.
    end_->set_user(nullptr);
    home_.shared_.time.after(seconds(2), [end = end_] { end->close(); });
    home_.shut(*this);
}

} // namespace pgweir::simulation
