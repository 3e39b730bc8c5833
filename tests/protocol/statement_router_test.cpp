// Prepared statements of clients that share servers: what each message becomes, what is believed
// when batches fail, and what waits.
//
// How a script reads: shared_server.hpp.
#include "tests/protocol/shared_server.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace pgweir::test;

TEST_CASE("statement_router: what becomes of a client's messages") {
    struct row {
        const char* what;
        std::vector<std::string> steps;
    };
    const row rows[] = {
        {"one name on the server for one text",
         {"a: P s X | B s | E | S", "= C#1 P#1 X B#1 E S", "< 3 1 2 C Z", "b: P t X | B t | S",
          "= C#1 P#1 X B#1 S", "< 3 1 2 Z", "a: B s | E | S", "= B#1 E S"}},
        {"another text has another name",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "b: P s Y | S", "= C#2 P#2 Y S", "< 3 1 Z",
          "a: B s | S", "= B#1 S", "< 2 Z", "b: D s | S", "= D#2 D#2 S"}},
        {"Close is the client's alone",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: C s | S", "= C s S", "< 3 Z",
          "a: B s | S", "= B s S", "< E Z", "b: P s X | B s | S", "= C#1 P#1 X B#1 S"}},
        {"a failed Parse leaves no trace",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 E Z", "a: B s | S", "= B s S", "< E Z",
          "a: P s X | B s | S", "= C#1 P#1 X B#1 S"}},
        {"nor does a skipped one",
         {"a: B none | P s X | S", "= B none C#1 P#1 X S", "< E Z", "a: B s | S", "= B s S"}},
        {"a skipped Close has closed nothing",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: B none | C s | S", "= B none C s S",
          "< E Z", "a: B s | S", "= B#1 S"}},
        {"what an earlier batch may have failed to make is waited for",
         {"a: P s X | S | B s | S", "= C#1 P#1 X S", "< 3 1 Z", "= B#1 S", "< 2 Z",
          "a: P t Y | S | B t | S", "= C#2 P#2 Y S", "< 3 E Z", "= B t S"}},
        {"in one batch nothing is waited for", {"a: P s X | H | B s | E", "= C#1 P#1 X H B#1 E"}},
        {"a name that is taken is refused by PostgreSQL under that name",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: P s Y | S",
          "= C s P s ROLLBACK P s Y S C s S", "< 3 1 E Z 3 Z", "a: B s | S", "= B#1 S"}},
        {"… and again",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: P s Y | S",
          "= C s P s ROLLBACK P s Y S C s S", "< 3 E Z 3 Z", "a: P s Z | S | P s X | S",
          "= C s P s ROLLBACK P s Z S C s S C s P s ROLLBACK P s X S C s S",
          "< 3 1 E Z 3 Z 3 E Z 3 Z", "a: P s V | S", "= C s P s ROLLBACK P s V S C s S"}},
        {"nothing is waited for that nobody will tell",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q DEALLOCATE s",
          "= C s P s ROLLBACK S Q DEALLOCATE s", "a: C - | B s", "= C", "< 3 1 Z E Z", "= B#1"}},
        {"CopyData that belongs to no COPY",
         {"a: P s X | d | S | P s Y | S", "= C#1 P#1 X d S", "< 3 1 Z",
          "= C s P s ROLLBACK P s Y S C s S"}},
        {"behind the end of a COPY with no Sync no answer will come, so that none is waited for",
         {"a: P - COPY x FROM STDIN | B - | E", "= P COPY x FROM STDIN B E", "< 1 2 G",
          "a: d | c | P t Y | B t | S", "= d c C#1 P#1 Y B#1 S", "< C 3 1 2 Z"}},
        {"… but with one there is",
         {"a: P - COPY x FROM STDIN | B - | E", "= P COPY x FROM STDIN B E", "< 1 2 G",
          "a: d | c | S | P t Y | S", "= d c S", "< C Z", "= C#1 P#1 Y S"}},
        {"a long name is known by its beginning",
         {"a: P " + std::string(70, 'n') + " X | S", "= C#1 P#1 X S", "< 3 1 Z",
          "a: B " + std::string(63, 'n') + " | S", "= B#1 S"}},
        {"nobody gets at another's statement by its name on the server",
         {"a: B pgw_x | D pgw_x | C pgw_x | S", "= B ?pgw_x D ?pgw_x C ?pgw_x S"}},
        {"an unnamed statement is used where it was made",
         {"a: P - X | S", "= P X S", "< 1 Z", "a: B - | E | S", "= B E S"}},
        {"and made again where it was not",
         {"a: P - X | S", "= P X S", "< 1 Z", "b: P - Y | S", "= P Y S", "< 1 Z", "a: B - | S",
          "= P X B S", "< 1 2 Z", "a: B - | S", "= B S"}},
        {"a client without one does not get another's",
         {"a: P - X | S", "= P X S", "< 1 Z", "b: B - | S", "= C B S", "< 3 E Z", "b: D - | S",
          "= D S"}},
        {"a Query destroys it",
         {"a: P - X | S", "= P X S", "< 1 Z", "a: Q Y", "= Q Y", "< C Z", "b: Q Z", "= Q Z",
          "< C Z", "a: B - | S", "= C B S"}},
        {"a failed Parse destroys it, a skipped one does not",
         {"a: P - X | S",   "= P X S",    "< 1 Z",    "a: P - Y | S",
          "= P Y S",        "< E Z",      "b: Q Z",   "= Q Z",
          "< C Z",          "a: B - | S", "= C B S",  "< 3 E Z",
          "a: P - V | S",   "= P V S",    "< 1 Z",    "a: B none | P - W | S",
          "= B none P W S", "< E Z",      "b: Q Z",   "= Q Z",
          "< C Z",          "a: B - | S", "= P V B S"}},
        {"… nor does a skipped one behind a skipped Query",
         {"a: P - X | S", "= P X S", "< 1 Z", "b: Q Z", "= Q Z", "< C Z",
          "a: B none | Q Y | P - V | Q Y | P - W | S", "= B none Q Y P V Q Y P W S", "< E Z",
          "b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= P X B S"}},
        {"the same text once more is parsed once more",
         {"a: P - X | S", "= P X S", "< 1 Z", "b: P - Y | S", "= P Y S", "< 1 Z",
          "a: P - X | B - | E | S", "= P X B E S", "< 1 2 C Z", "b: B - | S", "= P Y B S"}},
        {"… behind a Query that has destroyed it",
         {"a: P - X | S", "= P X S", "< 1 Z", "a: Q Z | P - X | S", "= Q Z P X S", "< C Z 1 Z",
          "b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= P X B S"}},
        {"… and may fail this time",
         {"a: P - X | S", "= P X S", "< 1 Z",        "a: P - X | S", "= P X S",
          "< E Z",        "b: Q Z",  "= Q Z",        "< C Z",        "a: B - | S",
          "= C B S",      "< 3 E Z", "a: P - X | S", "= P X S",      "< 1 Z",
          "b: Q Z",       "= Q Z",   "< C Z",        "a: B - | S",   "= P X B S"}},
        {"… or be skipped",
         {"a: P - X | S", "= P X S", "< 1 Z", "a: B none | P - X | S", "= B none P X S", "< E Z",
          "b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= P X B S"}},
        {"… and may be another's by then",
         {"a: P - X | S", "= P X S", "< 1 Z", "a: P - Y | P - X | S", "= P Y P X S", "< 1 1 Z",
          "b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= P X B S"}},
        {"what SQL calls by name is lent",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q EXECUTE s", "= C s P s X S Q EXECUTE s",
          "< 3 1 Z C Z", "at rest", "= C s S", "< 3 Z", "a: B s | S", "= B#1 S"}},
        {"… and lent again for the next batch that uses such a text",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: P - EXECUTE s | S",
          "= C s P s X P EXECUTE s S C s S", "< 3 1 1 Z 3 Z", "a: B - | E | S",
          "= C s P s X B E S C s S"}},
        {"… and taken back behind no Query, which may be a COPY that would read it",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q COPY t FROM STDIN; DEALLOCATE s",
          "= C s P s ROLLBACK S Q COPY t FROM STDIN; DEALLOCATE s", "< 3 1 Z G", "a: c", "= c",
          "< C C- Z", "at rest", "= C s S"}},
        {"… and taken back at rest, where a batch ends with no Sync",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: P - EXECUTE s | F",
          "= C s P s X P EXECUTE s F", "< 3 1 1 V Z", "at rest", "= C s S", "< 3 Z", "at rest",
          "b: B s | S", "= B s S"}},
        {"… not in the middle of a batch, which a Sync of ours would end",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: P - Y | H", "= P Y H", "< 1",
          "a: Q EXECUTE s", "= Q EXECUTE s", "< E Z", "a: Q EXECUTE s",
          "= C s P s X S Q EXECUTE s"}},
        {"… but for DEALLOCATE, which what is lent cannot fail in front of",
         {"a: P s X | Q DEALLOCATE s", "= C#1 P#1 X C s P s ROLLBACK Q DEALLOCATE s",
          "< 3 1 3 1 C- Z", "at rest", "= C s S", "< 3 Z", "a: B s | S", "= B s S"}},
        {"… by a statement that an earlier batch may not have come to",
         {"a: P s X | P t DEALLOCATE s | S", "= C#1 P#1 X C#2 P#2 DEALLOCATE s S", "< 3 1 3 1 Z",
          "a: B none | B t | E | S | B t | E | S", "= B none C s P s ROLLBACK B#2 E S C s S",
          "< E Z 3 Z", "= C s P s ROLLBACK B#2 E S C s S"}},
        {"… or an unnamed one",
         {"a: P s X | P - DEALLOCATE s | S", "= C#1 P#1 X C s P s ROLLBACK P DEALLOCATE s S C s S",
          "< 3 1 3 1 1 Z 3 Z", "a: B none | B - | E | S | B - | E | S",
          "= B none C s P s ROLLBACK B E S C s S", "< E Z 3 Z", "= C s P s ROLLBACK B E S C s S"}},
        {"who goes by what it was told is refused everywhere when it is stale, until it parses "
         "anew",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T t T Z", "! a s",
          "a: B s | E | S", "= B stale E S", "< E Z", "b: P t X | S", "= C#1 P#1 X S", "< 3 1 Z",
          "a: D s | S", "= D stale S", "< E Z", "a: C s | P s X | S", "= C s C#1 P#1 X S",
          "< 3 3 1 Z", "a: B s | E | S", "= B#1 E S"}},
        {"… also who had its portals described at first",
         {"a: P s X | B s | Dp | E | S", "= C#1 P#1 X B#1 D D#1 E S", "< 3 1 2 T t T C Z",
          "a: B s | E | S", "= B#1 E S", "< 2 C Z", "! a s", "a: B s | E | S", "= B stale E S"}},
        {"… but not who has each portal described: it is given the statement anew",
         {"a: P s X | B s | Dp | E | S", "= C#1 P#1 X B#1 D D#1 E S", "< 3 1 2 T t T C Z", "! a s",
          "a: B s | Dp | E | S", "= C#1 P#1 X B#1 D D#1 E S", "< 3 1 2 T t T C Z",
          "a: B s | Dp | E | S", "= B#1 D E S"}},
        {"… nor who has had nothing described",
         {"a: P s X | B s | E | S", "= C#1 P#1 X B#1 E S", "< 3 1 2 C Z", "! a s", "a: B s | E | S",
          "= C#1 P#1 X B#1 E S"}},
        {"a server that lacks it is asked whether it still is as the client was told",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: B s | E | S", "= C#1 P#1 X D#1 H", "< 3 1 t T1",
          "= B#1 E S", "< 2 C Z", "a: B s | E | S", "= B#1 E S"}},
        {"… and if not, the client is refused",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: B s | E | S", "= C#1 P#1 X D#1 H", "< 3 1 t T2",
          "= B stale E S", "< E Z", "a: C s | P s X | B s | E | S", "= C s C#1 P#1 X B#1 E S"}},
        {"… and if that fails, the client hears of it",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: B s | E | S", "= C#1 P#1 X D#1 H", "< 3 E",
          "= C#1 P#1 X B#1 E S", "< Z", "a: B s | E | S", "= C#1 P#1 X D#1 H"}},
        {"… also in the middle of a batch",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: P - Y | B s | E | S", "= P Y C#1 P#1 X D#1 H",
          "< 1 3 1 t T1", "= B#1 E S"}},
        {"… which may have failed by then",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: P - Y | B s | E | S", "= P Y C#1 P#1 X D#1 H", "< E",
          "= C#1 P#1 X B#1 E S", "< Z", "a: B s | E | S", "= C#1 P#1 X D#1 H"}},
        {"… and behind what the client has asked before",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T Z", "b: Q DISCARD ALL",
          "= Q DISCARD ALL", "< C* Z", "a: Q Y | B s | E | S", "= Q Y C#1 P#1 X D#1 H",
          "< C Z 3 1 t T1", "= B#1 E S"}},
        {"what another client's Parse has made of it is not what this one was told",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T1 t T1 Z", "b: P t X | D t | S",
          "= C#1 P#1 X D#1 D#1 S", "< 3 1 t T2 t T2 Z", "a: B s | E | S", "= C#1 P#1 X D#1 H",
          "< 3 1 t T2", "= B stale E S", "< E Z", "b: B t | E | S", "= B#1 E S"}},
        {"… nor of its parameters, which it gets as it was told",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t23 T1 t23 T1 Z",
          "b: P t X | D t | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t20 T1 t20 T1 Z", "a: B s | E | S",
          "= C#1 P#1 X $23 D#1 H", "< 3 1 t23 T1", "= B#1 E S", "< 2 C Z", "b: B t | E | S",
          "= C#1 P#1 X $20 D#1 H", "< 3 1 t20 T1", "= B#1 E S"}},
        {"… but who has been told the same shares it",
         {"a: P s X | D s | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t23 T1 t23 T1 Z",
          "b: P t X | D t | S", "= C#1 P#1 X D#1 D#1 S", "< 3 1 t23 T1 t23 T1 Z", "a: B s | E | S",
          "= B#1 E S"}},
        {"what is read under settings of one transaction alone is nobody else's",
         {"b: P t X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q SET LOCAL search_path = a",
          "= Q SET LOCAL search_path = a", "a: P s X | S", "= C#2 P#2 X S", "< C Z 3 1 Z",
          "a: P u X | S", "= C#1 P#1 X S", "< 3 1 Z", "b: B t | S", "= B#1 S", "< 2 Z",
          "a: B s | S", "= B#2 S"}},
        {"… also where the one who parses sets them in the same batch",
         {"a: P - SET search_path = a | B - | E | P s X | S",
          "= P SET search_path = a B E C#1 P#1 X S", "< 1 2 C 3 1 Z", "b: P s X | S",
          "= C#2 P#2 X S"}},
        {"a portal that may not be there is described by nobody but the client",
         {"a: P s X | B s | E | S", "= C#1 P#1 X B#1 E S", "< 3 1 2 C Z", "a: Dp | S", "= D S"}},
        {"… nor behind a Query, which ends it",
         {"a: P s X | B s | Dp | Q Y | E | S", "= C#1 P#1 X B#1 D Q Y E S"}},
        {"what was skipped is asked for again",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: B none | D s | S", "= B none D#1 D#1 S",
          "< E Z", "a: D s | S", "= D#1 D#1 S", "< t n t n Z", "a: D s | S", "= D#1 S"}},
        {"a portal of the unnamed statement says nothing of a named one",
         {"a: P s X | B s | P - Y | B - | Dp | E | S", "= C#1 P#1 X B#1 P Y B D E S",
          "< 3 1 2 1 2 T C Z", "! a s", "a: B s | E | S", "= C#1 P#1 X B#1 E S"}},
        {"DEALLOCATE by SQL",
         {"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q DEALLOCATE other",
          "= Q DEALLOCATE other", "< E Z", "a: B s | S", "= B#1 S"}},
    };
    for (const auto& [what, steps] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        shared_server server;
        server.play(steps);
    }
}

TEST_CASE("statement_router: what lists statements finds the client's, by the client's names") {
    const std::string list = "SELECT * FROM pg_prepared_statements";
    struct row {
        const char* what;
        std::vector<std::string> steps;
    };
    const row rows[] = {
        {"others' are closed",
         {"b: Q " + list, "= own C#1 S Q " + list, "< own 3 Z C Z", "a: B s | S",
          "= C#1 P#1 X B#1 S"}},
        {"its own are lent",
         {"a: Q " + list, "= own C#1 C s P s X S Q " + list, "< own 3 3 1 Z C Z", "at rest",
          "= C s S", "< 3 Z", "a: B s | S", "= C#1 P#1 X B#1 S"}},
        {"… to a batch",
         {"a: P - " + list + " | B - | E | S", "= own C#1 C s P s X P " + list + " B E S C s S",
          "< own 3 3 1 1 2 C Z 3 Z"}},
        {"… that executes what was parsed before",
         {"b: P - " + list + " | S", "= own C#1 P " + list + " S", "< own 3 1 Z", "a: Q Y", "= Q Y",
          "< C Z", "b: B - | E | S", "= own P " + list + " B E S"}},
        {"the statement that lists them is one",
         {"a: P t " + list + " | S", "= C#2 P#2 " + list + " S", "< 3 1 Z", "a: C s | S", "= C s S",
          "< 3 Z", "a: B t | E | S", "= own C#1 C#2 C t P t " + list + " B t E S C t S",
          "< own 3 3 3 1 2 C Z 3 Z", "a: B t | E | S",
          "= C#2 P#2 " + list + " own C#2 C t P t " + list + " B t E S C t S"}},
        {"… also where the server alone knows it by that name",
         {"a: Q PREPARE pgw_p AS Y", "= Q PREPARE pgw_p AS Y", "< C Z",
          "a: P t " + list + " | B t | E | S", "= own C#1 C s P s X P t " + list + " B t E S C s S",
          "< own 3 3 1 1 2 C Z 3 Z"}},
        {"behind a failed message nothing is closed",
         {"b: B none | P - " + list + " | S", "= B none own C#1 P " + list + " S", "< E Z",
          "a: B s | S", "= B#1 S"}},
        {"what is on its way is waited for",
         {"a: P t Y | S | Q " + list, "= C#2 P#2 Y S", "< 3 E Z",
          "= own C#1 C s P s X S Q " + list}},
        {"a Query in an open batch is not to fail for what is lent",
         {"a: P - Y | H | Q " + list, "= P Y H own C#1 Q " + list}},
    };
    for (const auto& [what, steps] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        shared_server server;
        server.kept = {.settings = 1, .pins = 1};
        server.play({"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z"});
        server.play(steps);
        CHECK(server.kept.settings == 0);
        CHECK(server.kept.pins == 0);
    }
}

TEST_CASE("statement_router: the least recently used statement goes, and comes back") {
    shared_server server;
    server.per_server = 2;
    server.play({"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z"});
    server.play({"a: P t Y | S", "= C#2 P#2 Y S", "< 3 1 Z"});
    server.play({"a: B s | S", "= B#1 S", "< 2 Z"});
    server.play({"a: P u V | S", "= C#2 C#3 P#3 V S", "< 3 3 1 Z"});
    CHECK(server.there.size() == 2);
    server.play({"a: B t | S", "= C#1 C#2 P#2 Y B#2 S", "< 3 3 1 2 Z"});
    CHECK(server.there.size() == 2);
    // Skipped, so that nothing of it has happened.
    server.play({"a: B none | B s | S", "= B none C#3 C#1 P#1 X B#1 S", "< E Z"});
    server.play({"a: B u | B t | S", "= B#3 B#2 S", "< 2 2 Z"});
    server.per_server = 1;
    server.play({"a: B s | S", "= C#3 C#2 C#1 P#1 X B#1 S", "< 3 3 3 1 2 Z"});
    CHECK(server.there.size() == 1);
}

TEST_CASE("statement_router: what the server was given may fail like the message itself") {
    shared_server server;
    server.play({"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z"});
    server.there.all_deallocated();
    server.play({"a: B s | E | S", "= C#1 P#1 X B#1 E S", "< 3"});
    CHECK(server.owed.where(backend::error_response) == fate::forward);
    CHECK(server.owed.where(backend::parse_complete) == fate::swallow);
    server.play({"< E Z", "a: B s | S", "= C#1 P#1 X B#1 S"});
}

TEST_CASE("statement_router: a text that leaves something does so each time it is parsed") {
    shared_server server;
    for (int time = 0; time < 3; ++time) {
        server.play(
            {"a: P - SELECT pg_advisory_lock(1) | S", "= P SELECT pg_advisory_lock(1) S", "< 1 Z"});
        CHECK(server.state_of('a').has(pin_reason::advisory_lock));
        server.state_of('a').clear();
        server.play({"a: P - SELECT 1 | S", "= P SELECT 1 S", "< 1 Z"});
        CHECK_FALSE(server.state_of('a').pinned());
        server.play({"a: P - SELECT 1 | S", "= P SELECT 1 S", "< 1 Z"});
        CHECK_FALSE(server.state_of('a').pinned());
    }
}

TEST_CASE("statement_router: SQL's EXECUTE does to the session what the statement does") {
    const std::string lock = "SELECT pg_advisory_lock(1)";
    for (const std::string query : {"Q EXECUTE s", "P - EXECUTE s | B - | E | S"}) {
        shared_server server;
        server.play({"a: P s " + lock + " | P t SELECT 1 | S"});
        server.play({"< 3 1 3 1 Z"});
        server.state_of('a').clear();
        const auto other = "a: " + std::string(query).replace(query.find('s'), 1, "t");
        server.play({other});
        CHECK_FALSE(server.state_of('a').pinned());
        server.play({query[0] == 'Q' ? "< 3 1 Z C Z" : "< 3 1 1 2 C Z 3 Z", "at rest"});
        server.play({"a: " + query});
        CHECK(server.state_of('a').has(pin_reason::advisory_lock));
    }
}

TEST_CASE("statement_router: nothing is held for those who are gone") {
    shared_server server;
    server.play({"a: P s X | S", "< 3 1 Z", "a: P t X | S", "< 3 1 Z"});
    CHECK(server.table.size() == 1);
    CHECK(server.statements_of('a').size() == 2);
    server.play({"a: C s | S", "< 3 Z"});
    CHECK(server.table.size() == 1);
    server.play({"a: C t | S", "< 3 Z"});
    CHECK(server.table.size() == 0);
    CHECK(server.table.held_bytes() == 0);
    CHECK(server.there.size() == 1);
    CHECK(!server.there.anything_in_flight());
}

TEST_CASE("statement_router: without room, or without sharing, a named statement pins") {
    shared_server server;
    SUBCASE("no room") { server.table.set_max_bytes(10); }
    SUBCASE("no sharing") { server.per_server = 0; }
    server.play({"a: P s X | B s | S", "= P s X B s S"});
    CHECK(server.state_of('a').has(pin_reason::named_statement));
}

TEST_CASE("statement_router: DEALLOCATE of a shared statement") {
    shared_server server;
    server.play({"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z", "a: Q DEALLOCATE s",
                 "= C s P s ROLLBACK S Q DEALLOCATE s", "< 3 1 Z C- Z", "at rest", "= C s S",
                 "< 3 Z", "a: B s | S", "= B s S"});
}

TEST_CASE("statement_router: what a batch has prepared is gone when it has discarded all") {
    shared_server server;
    // A first one, although nothing was there to be deallocated when it was parsed.
    server.play({"a: P - DISCARD ALL | P s X | B - | E | P s Y | S",
                 "= P DISCARD ALL C#1 P#1 X B E C#2 P#2 Y S"});
    // … and one that was parsed in an earlier batch.
    server.play({"< 1 3 1 2 C* 3 1 Z", "a: B - | E | P s Z | S", "= B E C#3 P#3 Z S"});
}

TEST_CASE("statement_router: DEALLOCATE in a batch, and what is made anew behind it") {
    shared_server server;
    server.play({"a: P s DEALLOCATE s | B s | E | P s Y | C s | S",
                 "= C#1 P#1 DEALLOCATE s C s P s ROLLBACK B#1 E C#2 P#2 Y C s S C s S"});
    SUBCASE("is skipped: there is nothing to go back to") {
        server.play({"< 3 1 3 1 2 C- E Z 3 Z", "a: B s | S", "= B s S"});
    }
    SUBCASE("is closed") { server.play({"< 3 1 3 1 2 C- 3 1 3 Z 3 Z", "a: B s | S", "= B s S"}); }
    SUBCASE("stays when the DEALLOCATE has failed") {
        server.play({"< 3 1 3 1 2 E Z 3 Z", "a: B s | S"});
        server.play({"= C s P s ROLLBACK B#1 S C s S"});
    }
}

TEST_CASE("statement_router: a Query that is refused has destroyed the unnamed statement") {
    shared_server server;
    server.play({"a: P - X | S", "= P X S", "< 1 Z"});
    CHECK(destroys_unnamed_statement(as_bytes(message('Q', z("Y")))));
    CHECK(destroys_unnamed_statement(as_bytes(message('P', z("") + z("Y")))));
    CHECK_FALSE(destroys_unnamed_statement(as_bytes(message('P', z("s") + z("Y")))));
    CHECK_FALSE(destroys_unnamed_statement(as_bytes(message('S', ""))));
    server.statements_of('a').unnamed_refused();
    server.play({"b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= C B S", "< 3 E Z"});
}

TEST_CASE("statement_router: a long unnamed statement comes back where the next one is skipped") {
    shared_server server;
    const std::string x(2'000, 'x'), y(3'000, 'y');
    const auto before = server.table.held_bytes();
    server.play({"a: P - " + x + " | S", "= P " + x + " S", "< 1 Z"});
    server.play({"a: B none | P - " + y + " | S", "= B none P " + y + " S"});
    CHECK(server.table.held_bytes() > before + x.size() + y.size()); // both count
    server.play({"< E Z"});
    CHECK(server.table.held_bytes() < before + y.size());
    server.play({"b: Q Z", "= Q Z", "< C Z", "a: B - | S", "= P " + x + " B S", "< 1 2 Z"});
    server.play({"a: P - " + y + " | S", "= P " + y + " S", "< 1 Z"});
    CHECK(server.table.held_bytes() < before + x.size() + y.size());
    server.play({"a: P - Z | S", "= P Z S", "< 1 Z"});
    CHECK(server.table.held_bytes() == before);
}

TEST_CASE("statement_router: a batch on another server is another one, also with the same number") {
    statement_table table("key", 1'000'000);
    client_statements mine(table);
    session_state state;
    client_stream stream;
    const setting_map settings;
    struct {
        server_statements there;
        reply_queue owed;
    } servers[2];
    const auto play = [&](auto& server, const std::string& bytes, std::string_view answers) {
        text_sink sink;
        statement_link::counts counted;
        const statement_link link{.mine = mine,
                                  .there = server.there,
                                  .table = table,
                                  .settings = settings,
                                  .per_server = 10,
                                  .counted = counted};
        server.there.taken_over(mine.unnamed_last() + 1);
        mine.lease_begins();
        REQUIRE(
            stream.forward(as_bytes(bytes), false, sink, server.owed, state, &link).taken_bytes ==
            bytes.size());
        for (const char type : answers) {
            (void)server.owed.received(static_cast<backend>(type), "25P02");
            server.there.apply(server.owed.outcomes(), &mine);
            server.owed.clear_outcomes();
        }
    };
    const auto sync = message('S', "");
    const auto parse = message('P', z("") + z("LISTEN ch") + std::string(2, '\0'));
    const auto bind = message('B', z("") + z("") + std::string(6, '\0'));
    REQUIRE(servers[0].owed.batch() == servers[1].owed.batch());
    play(servers[0], parse + sync, "1Z");
    state.clear(); // it has not been executed, and the client has gone on without its server
    play(servers[1], bind + message('E', z("") + std::string(4, '\0')) + sync, "12CZ");
    CHECK(state.has(pin_reason::listen));
}

TEST_CASE("statement_router: 2024-27304, 2024-32655: a renamed message fits a message's length") {
    // The length field is at its most; the server's name is longer than the client's.
    statement_table table("key", 1'000'000);
    client_statements mine(table);
    server_statements there;
    kept_statements kept;
    reply_queue owed;
    session_state state;
    text_sink sink;
    setting_map settings;
    statement_link::counts counted;
    const statement_link link{.mine = mine,
                              .there = there,
                              .table = table,
                              .settings = settings,
                              .per_server = 10,
                              .counted = counted};
    const auto parse = message('P', z("s") + z("X") + std::string(2, '\0'));
    (void)route_statement_message(frontend::parse, as_bytes(parse), true, link, owed, state, sink);
    std::string bind = "B";
    message_writer(bind).u32(max_length_field - 10).raw(z("") + z("s"));
    CHECK(route_statement_message(frontend::bind, as_bytes(bind), false, link, owed, state, sink)
              .is == routing::how::too_long);
    bind = "B";
    message_writer(bind).u32(max_length_field - 29).raw(z("") + z("s"));
    CHECK(route_statement_message(frontend::bind, as_bytes(bind), false, link, owed, state, sink)
              .is == routing::how::rewritten);
}

TEST_CASE(
    "statement_router: a name is taken, whoever knew it when, and whatever the limits are now") {
    shared_server server;
    SUBCASE("the server alone knows it, because the table was full") {
        server.table.set_max_bytes(4);
        server.play({"a: P s X | S", "= P s X S", "< 1 Z"});
        CHECK(server.state_of('a').has(pin_reason::named_statement));
        server.table.set_max_bytes(1'000'000);
        server.play({"a: P s Y | S", "= P s Y S", "< E Z"}); // PostgreSQL refuses it
    }
    SUBCASE("it is shared, and names are no longer shared") {
        server.play({"a: P s X | S", "= C#1 P#1 X S", "< 3 1 Z"});
        server.per_server = 0;
        server.play({"a: P s Y | S", "= C s P s ROLLBACK P s Y S C s S", "< 3 1 E Z 3 Z",
                     "a: P t Y | S", "= P t Y S"});
        CHECK(server.state_of('a').has(pin_reason::named_statement));
    }
}
