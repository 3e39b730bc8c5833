// Plays scripts direct and through, and says what differs.
//
// Owner: main. One thread.
#pragma once

#include "integration/differential/player.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace pgweir::differential {

struct through {
    place where;
    std::uint32_t servers = 1;  // how many the pool has
    std::size_t disturbers = 0; // other clients that keep it moving
    std::size_t alike = 0, different = 0, skipped = 0;
};

class runner {
public:
    runner(admin& outside, place direct, std::chrono::milliseconds patience)
        : admin_(outside)
        , direct_(std::move(direct))
        , player_(outside, patience) {}

    /// Plays it direct, and through each; prints what differs. False: something did. `twice`: play
    /// it direct a second time, which must not differ either, or the script proves nothing.
    bool run(const script& s, std::vector<through*> places, bool twice);

    /// What differs, empty if nothing, or if the script does not come to its end when played
    /// direct.
    [[nodiscard]] std::string differs(const script& s, const place& where);
    /// Plays it direct twice: empty when both were the same, and its set-up worked.
    [[nodiscard]] std::string undetermined(const script& s);

    /// The last differs() did not come to its end when it was played direct.
    [[nodiscard]] bool direct_hung() const { return direct_hung_; }

    void verbose(bool on) { verbose_ = on; }
    void patience(std::chrono::milliseconds longest) { player_.patience(longest); }

private:
    [[nodiscard]] transcripts play(const script& s, const place& where);
    void clean_up();

    admin& admin_;
    place direct_;
    player player_;
    bool verbose_ = false, direct_hung_ = false;
};

} // namespace pgweir::differential
