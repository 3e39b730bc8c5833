// Plays a script at one address and writes down what everybody was told.
//
// Owner: main. One thread.
#pragma once

#include "integration/differential/admin.hpp"
#include "integration/differential/script.hpp"
#include "integration/differential/wire_client.hpp"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace pgweir::differential {

struct place {
    std::string name; // for people
    address at;
    std::string user, database;
};

/// What each client was told, in order; what the looks from outside showed is under `-`.
struct transcripts {
    std::map<char, std::vector<std::string>> of;
    bool hung = false; // something that was waited for did not come

    friend bool operator==(const transcripts&, const transcripts&) = default;
};

class player {
public:
    player(admin& outside, std::chrono::milliseconds patience)
        : admin_(outside)
        , patience_(patience) {}

    void patience(std::chrono::milliseconds longest) { patience_ = longest; }

    /// Throws std::runtime_error when the script's own set-up fails.
    [[nodiscard]] transcripts play(const script& s, const place& where);

private:
    struct actor {
        wire_client wire;
        std::string unsent; // of whole steps that follow each other: one write
        std::string held;   // what a step with `cut` kept back
        bool left = false;
    };
    struct hang {
        std::string what;
    };

    [[nodiscard]] wire_client::deadline deadline() const {
        return std::chrono::steady_clock::now() + patience_;
    }
    [[nodiscard]] actor& on_stage(char client);
    void connect(actor& who, char client, const conversation_step* step);
    void perform(const conversation_step& step);
    void perform_outside(const conversation_step& step);
    void send(actor& who, const conversation_step& step);
    void send_all();
    void wait(actor& who, const conversation_step& step);
    void leave(actor& who, const conversation_step& step);
    void say_goodbye();
    void note(char client, std::string line) { told_.of[client].push_back(std::move(line)); }
    void write_down();

    admin& admin_;
    std::chrono::milliseconds patience_;
    // Of the script being played.
    place where_;
    std::map<char, actor> actors_;
    std::map<char, std::vector<std::string>> remarks_; // after what was received
    transcripts told_;
};

} // namespace pgweir::differential
