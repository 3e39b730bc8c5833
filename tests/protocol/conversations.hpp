// The conversations that the reply queue and the relay are tested with, each a row: what it shows,
// and the script (notation: conversation_script.hpp). All of them were compared with what
// PostgreSQL 15 does. Tests only.
#pragma once

#include "tests/protocol/conversation_script.hpp"

#include <array>

namespace pgweir::test {

inline constexpr script conversations[] = {
    // Simple protocol.
    {"a query", "> Q [owed=1 ready=1] < T- D- D- C- [owed=1 ready=1] ZI [owed=0 ready=0]"},
    {"an empty query", "> Q'' < I- ZI [owed=0]"},
    {"several statements in a query", "> Q < T D C C T C ZT [owed=0]"},
    {"an error in a query skips nothing",
     "> Q Q < E- [owed=2 ready=2] ZI [owed=1] T D C ZI [owed=0]"},
    {"an error after rows", "> Q < T D D E ZI [owed=0]"},
    {"queries in a pipeline", "> Q Q Q [ready=3] < C ZI [ready=2] C ZI [ready=1] C ZI [ready=0]"},
    {"a function call", "> F [owed=1 ready=1] < V- ZI [owed=0]"},
    {"a function call that fails", "> F F < E- ZI [owed=1] V ZI [owed=0]"},
    {"ReadyForQuery before the answer is lost step", "> Q < ZI?"},
    {"a function call's ReadyForQuery before its answer is lost step", "> F < ZI?"},
    {"nothing but ReadyForQuery after an error", "> Q < E C?"},

    // Extended protocol.
    {"a batch", "> P B DP E S [owed=5 ready=1] < 1+ 2+ T+ D- C+ [owed=1 ready=1] ZI [owed=0]"},
    {"a batch without rows", "> P B DP E S < 1 2 n+ C ZI [owed=0]"},
    {"an empty statement", "> P'' B E S < 1 2 I+ ZI [owed=0]"},
    {"describing a statement takes two messages", "> P DS S < 1 t- [owed=2] T+ ZI [owed=0]"},
    {"describing a statement without rows", "> P DS S < 1 t- n+ ZI [owed=0]"},
    {"closing", "> CS CP S < 3+ 3+ ZI [owed=0]"},
    {"an empty batch", "> S < ZI [owed=0]"},
    {"Supavisor #1079: N Syncs are owed N ReadyForQuery",
     "> P B E S B E S B E S [owed=10 ready=3] < 1 2 C ZT [owed=6 ready=2] 2 C ZT [ready=1] 2 C ZI "
     "[owed=0 ready=0]"},
    {"PgDog #763: PortalSuspended completes Execute, the batch stays open",
     "> P B E H [owed=3 batch] < 1 2 D D s+ [owed=0 batch] > E H [owed=1 batch] < D C+ [owed=0 "
     "batch] "
     "> S [owed=1] < ZI [owed=0]"},
    {"Flush leaves the batch open",
     "> P DS H [owed=2 batch] < 1 t n [owed=0 batch] > S < ZI [owed=0]"},
    {"Flush alone opens nothing", "> H [owed=0] H S < ZI [owed=0]"},
    {"a query closes a batch", "> P B E [batch] Q [ready=1] < 1 2 C C ZI [owed=0]"},
    {"a function call closes a batch", "> P [batch] F < 1 V ZI [owed=0]"},
    {"ParseComplete for a Bind is lost step", "> P B S < 1 1?"},
    {"BindComplete for a Parse is lost step", "> P B S < 2?"},
    {"ReadyForQuery for a Bind is lost step", "> P B S < 1 ZI?"},
    {"rows for a Close are lost step", "> CS S < D?"},
    {"a description without its parameters is lost step", "> DS S < T?"},
    {"two parameter descriptions are lost step", "> DS S < t t?"},
    {"Execute has no row description", "> P B E S < 1 2 T?"},
    {"PortalSuspended for a Query is lost step", "> Q < T D s?"},

    // Skip until Sync.
    {"an error skips the rest of the batch",
     "> P B DP E S [owed=5 ready=1] < E+ [owed=1 ready=1] ZI [owed=0]"},
    {"an error in the middle", "> P B DP E S < 1 2 n E+ [owed=1] ZE [owed=0]"},
    {"an error in describing, after the parameters", "> P DS S < 1 t E+ ZI [owed=0]"},
    {"PgDog #1356: a simple Query after an extended error is not owed a ReadyForQuery",
     "> P Q S [ready=2] < E+ [owed=1 ready=1] ZI [owed=0 ready=0]"},
    {"Yugabyte #33915: neither is a function call",
     "> P F Q S [ready=3] < E+ [owed=1 ready=1] ZI [owed=0]"},
    {"PgBouncer #759: an error skips up to its own Sync only",
     "> P B E S P B E S [ready=2] < E+ [owed=5 ready=2] ZI [owed=4 ready=1] 1 2 C ZI [owed=0]"},
    {"an error without a Sync yet: what comes later is skipped",
     "> P B [batch] < E+ [owed=0 skip batch] > B E Q F DS CS H [owed=0 ready=0 skip batch] > S "
     "[owed=1 ready=1] < ZI [owed=0]"},
    {"the query that closed the batch was skipped: it is still open",
     "> P Q [owed=2 ready=1] < E+ [owed=0 ready=0 skip batch] > S < ZI [owed=0]"},
    {"after the Sync nothing is skipped any more",
     "> P < E [skip batch] > S P B E S < ZI 1 2 C ZI [owed=0]"},
    {"an error at Sync itself: the commit failed",
     "> P B E S < 1 2 C E- [owed=1 ready=1] ZI [owed=0]"},
    {"an error at Sync skips nothing", "> P B E S Q < 1 2 C E ZI [owed=1] C ZI [owed=0]"},
    {"after an error at Sync nothing but ReadyForQuery", "> P S < 1 E 1?"},
    {"CopyData, CopyDone and CopyFail are skipped too",
     "> P < E [skip batch] > d c f [owed=0 skip batch] S < ZI [owed=0]"},

    // At any moment.
    {"notices, notifications and parameters belong to nothing",
     "< N~ A~ PS~ > P B E S < N~ 1 A~ 2 PS~ D N~ C PS~ ZI N~ A~ PS~ [owed=0]"},
    {"PgDog #718: a server that leaves while it owes nothing", "< E!~ [owed=0]"},
    {"a server that leaves in the middle of a query", "> Q < T D E!- E!-"},
    {"a server that leaves in the middle of a batch", "> P B E S < 1 E!+ E!-"},
    {"ReadyForQuery that nobody asked for", "< ZI?"},
    {"rows that nobody asked for", "> Q < C ZI D?"},
    {"a login message", "> Q < R?"},

    // COPY.
    {"COPY TO in a query", "> Q < H- d- d- c- C- ZI [owed=0]"},
    {"COPY TO in a batch", "> P B E S < 1 2 H- d- c- C+ ZI [owed=0]"},
    {"COPY TO among other statements", "> Q < H d c C T D C H c C ZI [owed=0]"},
    {"COPY TO that fails", "> Q < H d E- ZI [owed=0]"},
    {"COPY TO that fails in a batch", "> P B E S < 1 2 H d E+ ZI [owed=0]"},
    {"rows in the middle of COPY TO", "> Q < H D?"},
    {"ReadyForQuery in the middle of COPY TO", "> Q < H ZI?"},
    {"CopyData outside COPY", "> Q < d?"},
    {"COPY FROM in a query",
     "> Q < G- [owed=1 ready=1 copy] > d d [owed=1 copy] c [owed=2 ready=1 copy] < C- "
     "[owed=1 ready=1] ZI [owed=0]"},
    {"COPY FROM sent in one go", "> Q d d c Q [ready=2] < G C ZI [owed=1] C ZI [owed=0]"},
    {"COPY FROM in a batch, the Sync behind Execute is eaten",
     "> P B E S [ready=1] < 1 2 G- [owed=2 ready=0 copy] > d c S [ready=1 copy] < C+ [owed=1 "
     "ready=1] "
     "ZI [owed=0]"},
    {"COPY FROM in a batch, its Sync eaten and none behind",
     "> P B E S < 1 2 G [copy] > d c [ready=0 copy] < C+ [owed=0 batch] > S [owed=1] < ZI "
     "[owed=0]"},
    {"COPY FROM in a batch, further batches behind",
     "> P B E < 1 2 G [copy batch] > d c S P B E S [ready=2 copy] < C+ [owed=5] ZI [owed=4] 1 2 C "
     "ZI "
     "[owed=0]"},
    {"COPY FROM in a batch that goes on", "> P B E S H d c P B E S [ready=2] < 1 2 G [ready=1 "
                                          "copy] C+ [owed=4 ready=1] 1 2 C ZI [owed=0]"},
    {"Sync and Flush in the middle of a COPY are eaten",
     "> Q < G [copy] > d S H d S [ready=1 copy] c < C [owed=1 ready=1] ZI [owed=0]"},
    {"a Sync behind CopyDone is not eaten", "> Q d c S [ready=2] < G C ZI [owed=1] ZI [owed=0]"},
    {"two COPYs in a query",
     "> Q d c d c S < G- [copy] C- [ready=2] G- [copy ready=2] C- ZI [owed=1 ready=1] ZI [owed=0]"},
    {"the second COPY of a query eats Syncs too",
     "> Q d c S d c S < G [copy] C G [ready=2 copy] C ZI [owed=1] ZI [owed=0]"},
    {"PgBouncer #1470: a late CopyDone ends no COPY and is owed nothing",
     "> Q d c c f [owed=4] < G C ZI [owed=0] > c f d [owed=0]"},
    {"CopyDone without a COPY is read over", "> Q c P B E S f < C ZI 1 2 C ZI [owed=0]"},
    {"a COPY that fails before it begins eats nothing",
     "> P B E S d c S [ready=2] < 1 2 E+ [ready=2] ZI [ready=1] ZI [owed=0 ready=0]"},
    {"a COPY in a query that fails before it begins", "> Q d c Q < E ZI [owed=1] C ZI [owed=0]"},
    {"CopyFail in a query", "> Q < G > d f < E- [owed=2 ready=1] ZI [owed=0]"},
    {"CopyFail in a batch", "> P B E < 1 2 G > d f S < E+ [owed=1 ready=1] ZI [owed=0]"},
    {"CopyFail skips until Sync",
     "> P B E < 1 2 G > d f P B E Q S < E+ [owed=1 ready=1] ZI [owed=0]"},
    {"PgBouncer #1025: COPY in a query fails while the client still streams",
     "> Q < G > d d < E- ZI [owed=0] > d d c [owed=0] Q < C ZI [owed=0]"},
    {"COPY in a batch fails while the client still streams",
     "> P B E < 1 2 G > d d < E+ [owed=0 skip batch] > d c S < ZI [owed=0]"},
    {"COPY fails at its end", "> Q d c < G E ZI [owed=0]"},
    {"a COPY that ends without CopyDone is lost step", "> Q < G C?"},
    {"CopyFail cannot end a COPY well", "> Q < G > f < C?"},
    {"rows in the middle of COPY FROM are lost step", "> Q < G D?"},
    {"ReadyForQuery in the middle of COPY FROM is lost step", "> Q < G ZI?"},
    {"a second CopyInResponse is lost step", "> Q < G G?"},
    {"CopyBothResponse is lost step where nobody replicates", "> Q < W?"},
    {"CopyBothResponse is no answer to an Execute", "> P B E < 1 2 W?"},

    // COPY that leaves doubt: from there on everything is the client's, nothing is unexpected.
    {"a Sync that a failed COPY has eaten: one ReadyForQuery",
     "> P B E S < 1 2 G > d c S < E+ [doubt] ZI [doubt] > Q < T D C ZI [owed=0 doubt]"},
    {"a Sync that a failed COPY has not eaten: two of them",
     "> P B E S < 1 2 G > d c S < E+ ZI ZI [owed=0 doubt] > Q < T D C ZI [owed=0 doubt]"},
    {"the same in a query, eaten",
     "> Q d S c < G E- ZI [doubt] > P B E S < 1 2 C ZI [owed=0 doubt]"},
    {"the same in a query, not eaten",
     "> Q d S c < G E- ZI ZI [owed=0 doubt] > Q < C ZI [owed=0 doubt]"},
    {"a COPY into a view fails before it has read anything",
     "> P B E S < 1 2 G E+ [owed=1 doubt] ZI [owed=0 doubt] > Q < C ZI [owed=0 doubt]"},
    {"a query in the middle of a COPY ends the connection", "> Q d Q < G E- [doubt] E!- [doubt]"},
    {"a Parse in the middle of a COPY is skipped or ends the connection",
     "> P B E d P S < 1 2 G E+ [owed=1 ready=1] E!-"},
    {"doubt is forward's: nothing is swallowed",
     "> Q d S c !Q < G E- ZI [doubt] ZI C ZI [owed=0 doubt]"},
    {"statement_timeout while the server waits inside a batch",
     "> P H < 1 [owed=0 batch] E57014~ [owed=0 batch doubt] ZI [batch doubt] > P S < 1 ZI [owed=0 "
     "doubt]"},
    {"the same while the next batch is on its way",
     "> P H < 1 [owed=0 batch] > P S < E57014+ [owed=1 doubt] ZI [owed=0 doubt] 1 ZI [owed=0 "
     "doubt]"},
    {"an ordinary query that is cancelled leaves no doubt", "> Q < E57014- [owed=1] ZI [owed=0]"},
    {"nor does a batch", "> P B E S < 1 2 E57014+ [owed=1] ZI [owed=0]"},
    {"nor one that had begun when the next message was sent",
     "> P H B E S < 1 E57014+ [owed=1] ZI [owed=0]"},
    {"in doubt, COPY and its stray ends are still followed",
     "> Q d S c < G E ZI ZI [owed=0 doubt] > Q d S c Q < G [copy doubt ready=2] C [owed=2 doubt] "
     "ZI [owed=1 doubt] C ZI > P B E S c < 1 2 C [owed=2 ready=1 doubt] ZI [owed=0 doubt]"},
    {"CopyFail has that SQLSTATE too, and leaves no doubt",
     "> P B H < 1 2 [owed=0 batch] > E d f S < G E57014+ [owed=1 ready=1] ZI [owed=0]"},
    {"any other error of that batch leaves no doubt",
     "> P H < 1 > B E S < E23505+ [owed=1] ZI [owed=0]"},

    // Messages of ours among the client's.
    {"one of ours before the client's",
     "> !Q Q [owed=2 ready=1 ours=1] < !C- !ZI [ours=0] T D C ZI"},
    {"one of ours behind the client's", "> P B E S !Q < 1 2 C ZI !C !ZI [owed=0]"},
    {"a batch of ours", "> !P !B !E !S < !1+ !2+ !D- !C+ !ZI [owed=0]"},
    {"an error drops ours and the client's alike",
     "> !P P B E S [owed=5 ready=1 ours=0] < !E+ [owed=1] ZI [owed=0]"},
    {"an error of the client's drops ours too", "> P !P S < E+ ZI [owed=0]"},
    {"a notification is never ours, notices and parameters may be",
     "> !Q < A~ !N~ !PS~ !C A~ !ZI [owed=0]"},
};

} // namespace pgweir::test
